"""Models. Each takes the data's `in_features` and `num_classes` first, then its own settings."""

from src.models.mlp import MLP

__all__ = ["MLP"]
