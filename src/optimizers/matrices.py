"""What methods that precondition matrices share.

`product`, `add_product` and `norm` take (rows, columns), or (runs, rows, columns) where several
runs step at once; then each has the bits that it has alone.
"""

import torch
from torch import Tensor

# Multiply-adds of a product beyond which torch has oneDNN multiply, one pair or several. Smaller
# products it adds up in another order where there are several pairs, so these go one by one.
SMALL = 16**3


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


def product(left: Tensor, right: Tensor) -> Tensor:
    """L·R."""
    if _at_once(left, right):
        return left @ right
    return torch.stack([one @ other for one, other in zip(left, right, strict=True)])


def add_product(
    matrix: Tensor, left: Tensor, right: Tensor, beta: float, alpha: float = 1
) -> Tensor:
    """β·M + α·L·R."""
    if not _at_once(left, right):
        all_runs = zip(matrix, left, right, strict=True)
        return torch.stack([torch.addmm(*each, beta=beta, alpha=alpha) for each in all_runs])
    add = torch.addmm if matrix.ndim == 2 else torch.baddbmm
    return add(matrix, left, right, beta=beta, alpha=alpha)


def norm(matrix: Tensor) -> Tensor:
    """‖M‖ of all elements, shaped to divide the matrix."""
    if matrix.ndim == 2:
        length: Tensor = matrix.norm()
        return length
    return torch.stack([each.norm() for each in matrix]).view(-1, 1, 1)


def _at_once(left: Tensor, right: Tensor) -> bool:
    return left.ndim == 2 or left[0].numel() * right.size(-1) > SMALL
