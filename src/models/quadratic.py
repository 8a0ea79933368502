"""A quadratic function of the parameters."""

import numpy as np
import scipy.linalg
import torch
from torch import Tensor, nn


class Quadratic(nn.Module):
    """A point θ, which each sample draws to a place of its own: (θ − ξ)ᵀ·H·(θ − ξ) / d.

    It gives √H·(θ − ξ), so that the mean of its squares is that. H has eigenvalues from 1 down to
    1/κ, evenly in their logarithms. Its eigenvectors are a Hadamard matrix's rows, so that every
    coordinate has a part in each: a method that scales coordinates gains nothing by it. The loss
    is least at the samples' mean.

    Args:
        in_features: d, a power of 2.
        condition: κ, >= 1.

    θ starts where torch's global generator draws it, normally with standard deviation 3.

    Raises:
        ValueError: d is no power of 2, or κ < 1.

    Reference: Zhang et al., Which Algorithmic Choices Matter at Which Batch Sizes? Insights From a
    Noisy Quadratic Model, 2019, https://arxiv.org/abs/1907.04164; DeepOBS's quadratic_deep,
    https://arxiv.org/abs/1903.05499, also rotates the eigenvectors.
    """

    root: Tensor

    def __init__(self, in_features: int, condition: float = 1e3) -> None:
        super().__init__()
        if in_features < 1 or in_features & (in_features - 1):
            raise ValueError(f"a quadratic needs inputs of 2^k features, got {in_features}")
        if not condition >= 1:
            raise ValueError(f"condition must be >= 1, got {condition}")
        self.point = nn.Parameter(torch.empty(in_features).normal_(std=3.0))
        vectors = scipy.linalg.hadamard(in_features) / np.sqrt(in_features)
        roots = np.logspace(0, -np.log10(condition) / 2, in_features)
        root = torch.from_numpy(roots[:, None] * vectors)
        self.register_buffer("root", root.to(self.point.dtype), persistent=False)

    def forward(self, places: Tensor) -> Tensor:
        """Shape (batch, d), of places ξ of shape (batch, d)."""
        return (self.point - places) @ self.root.T
