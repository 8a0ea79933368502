"""What methods that precondition matrices share."""

import torch
from torch import Tensor


def gram(matrix: Tensor) -> Tensor:
    """G·Gᵀ, of a matrix that is scaled down where that could overflow.

    What isn't finite makes it NaN, which is not `usable`.
    """
    if not matrix.numel():
        return matrix @ matrix.mT  # of what has no largest element
    limit = torch.finfo(matrix.dtype).max ** 0.25
    largest = torch.linalg.vector_norm(matrix, torch.inf)
    bounded: Tensor = matrix * (limit / largest).clamp_(max=1.0)
    return bounded @ bounded.mT


def usable(matrix: Tensor) -> bool:
    """Whether it can be decomposed; waits for the device."""
    return bool(matrix.isfinite().all())


def average(mean: Tensor, value: Tensor, beta: float) -> None:
    """mean ← β·mean + (1−β)·value."""
    mean.mul_(beta).add_(value, alpha=1 - beta)


def exact(matrix: Tensor) -> Tensor:
    """In single precision at least, since LAPACK knows no less."""
    return matrix if matrix.element_size() >= 4 else matrix.float()


def eigen(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """The eigenvalues, which rise, and the eigenvectors in the columns."""
    values, vectors = torch.linalg.eigh(exact(matrix))
    return values, vectors
