"""Models, made to the shapes of data and loss: see `src.training.build.build_model`."""

from src.models.mlp import MLP

__all__ = ["MLP"]
