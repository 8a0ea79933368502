"""Shampoo."""

import torch
from torch import Tensor

from src.optimizers.adam import adam
from src.optimizers.directions import decoupled, tensor, trust_ratio
from src.optimizers.formulas import not_zero, smallest_normal
from src.optimizers.matrices import average, eigen, gram, usable
from src.optimizers.method import Method, Rule
from src.optimizers.settings import fractions, not_negative, positive, table, whole

Sides = list[dict[str, Tensor]]  # of a block's rows and columns: "gram" and "root", or nothing


def contiguous_zeros(param: Tensor) -> Tensor:
    """Zeros like the parameter, row by row."""
    return torch.zeros_like(param, memory_format=torch.contiguous_format)


def as_matrix(x: Tensor) -> Tensor:
    """A vector as a column; further dimensions flattened into the columns."""
    return x.flatten(1) if x.ndim > 1 else x.reshape(-1, 1)


def split(matrix: Tensor, size: int) -> list[Tensor]:
    """Views of the matrix's blocks, of so many rows and columns at most."""
    return [block for rows in matrix.split(size) for block in rows.split(size, 1)]


def sides_of(block: Tensor) -> Sides:
    """Each side's state at the start; a side of length 1 has none."""

    def side(size: int) -> dict[str, Tensor]:
        identity = torch.eye(size, dtype=block.dtype, device=block.device)
        return {"gram": torch.zeros_like(identity), "root": identity} if size > 1 else {}

    return [side(size) for size in block.shape]


def inverse_root(matrix: Tensor, order: int, eps: float) -> Tensor:
    """(A + ε·1)^(−1/order); eigenvalues that rounding made negative are 0."""
    values, vectors = eigen(matrix)
    powers = values.clamp_(min=0).add_(not_zero(eps, matrix)).pow_(-1 / order)
    return ((vectors * powers) @ vectors.mT).to(matrix.dtype)


def renew(sides: Sides, correction: float, eps: float) -> None:
    """Each side's inverse root; the exponent is −1/2 over the number of sides."""
    present = [side for side in sides if side and usable(side["gram"])]
    order = 2 * sum(bool(side) for side in sides)
    for side in present:
        side["root"].copy_(inverse_root(side["gram"] / correction, order, eps))


def between_roots(exp_avg: Tensor, sides: Sides) -> Tensor:
    """L̂·M·R̂, of some length: M is taken in units of its largest element, so nothing overflows."""
    largest = torch.linalg.vector_norm(exp_avg, torch.inf)
    direction: Tensor = exp_avg / largest.clamp_(min=smallest_normal(exp_avg.dtype))
    rows, columns = sides
    direction = rows["root"] @ direction if rows else direction
    return direction @ columns["root"] if columns else direction


def shampoo(
    grad: Tensor,
    exp_avg: Tensor,
    exp_avg_sq: Tensor,
    blocks: list[Sides],
    step: int,
    betas: tuple[float, float],
    eps: float,
    grafting_eps: float,
    max_preconditioner_dim: int,
    precondition_frequency: int,
) -> Tensor:
    """Shampoo's direction, with the length of Adam's in each block."""
    grad = grad.contiguous()
    update = tensor(adam(grad, exp_avg, exp_avg_sq, step, betas, grafting_eps))
    if not grad.numel():
        return update
    views = [split(as_matrix(x), max_preconditioner_dim) for x in (grad, exp_avg, update)]
    if not blocks:
        blocks.extend(sides_of(block) for block in views[0])
    for sides, block, avg, part in zip(blocks, *views, strict=True):
        for side, each in zip(sides, (block, block.mT), strict=True):
            if side:
                average(side["gram"], gram(each), betas[1])
        if step % precondition_frequency == 0:
            renew(sides, 1 - betas[1] ** step, eps)
        if step >= precondition_frequency:
            part.copy_(trust_ratio(between_roots(avg, sides), part))
    return update


class Shampoo(Method):
    """Shampoo in blocks: steps between inverse roots of Gram matrices, as long as Adam's.

    A parameter of two dimensions or more is a matrix; further dimensions are flattened into its
    columns. A vector is a column. Matrices are cut into blocks of b rows and columns at most, and
    each block goes its own way. With k sides longer than 1 (a vector has one, a number none):

        θ ← (1 − lr·λ)·θ
        M ← β₁·M + (1−β₁)·G,  V ← β₂·V + (1−β₂)·G²
        L ← β₂·L + (1−β₂)·G·Gᵀ,  R ← β₂·R + (1−β₂)·Gᵀ·G
        A = M̂ / (√V̂ + ε′),  M̂ = M / (1−β₁ᵗ),  V̂ = V / (1−β₂ᵗ)            (t counts from 1)
        every f steps  L̂ ← (L / (1−β₂ᵗ) + ε)^(−1/2k),  R̂ ← (R / (1−β₂ᵗ) + ε)^(−1/2k)
        S = L̂·M·R̂
        θ ← θ − lr·S·‖A‖ / ‖S‖            (θ − lr·A while t < f)

    Args:
        params: parameters, or groups of them with their own settings.
        lr: learning rate, >= 0; a float or a 0-dim tensor.
        betas: β₁ and β₂, both in [0, 1).
        eps: ε, added to the eigenvalues, > 0.
        grafting_eps: ε′ of Adam, > 0.
        weight_decay: λ, the decay per unit of learning rate, >= 0.
        precondition_frequency: f, a whole number from 1 to 1000000.
        max_preconditioner_dim: b, a whole number from 1 to 1000000.
        maximize: climb instead of descend (g is negated first).

    Raises:
        ValueError: a setting is outside its range, or a parameter is complex.
        RuntimeError: a gradient is sparse.

    Reference:
        Shi et al., A Distributed Data-Parallel PyTorch Implementation of the Distributed Shampoo
        Optimizer for Training Neural Networks At-Scale, 2023, https://arxiv.org/abs/2309.06497

    Of that paper's choices these are taken: blocks, averages of Gram matrices with corrections,
    Adam's length by grafting in each block, decoupled decay, Adam until the first roots, roots by
    eigendecomposition. Left out: sums (β₂ = 1), other methods to graft, momentum after the
    preconditioner, and merging of small dimensions other than those beyond the second. A gradient
    so large that its square could overflow counts less in L and R; while these aren't finite, the
    roots stay. torch.optim has no such class.
    """

    settings = table(
        lr=not_negative(1e-3),
        betas=fractions(0.9, 0.999),
        eps=positive(1e-12),
        grafting_eps=positive(1e-8),
        weight_decay=not_negative(0.0),
        precondition_frequency=whole(10, 1, 10**6),
        max_preconditioner_dim=whole(1024, 1, 10**6),
    )
    rule = Rule(
        shampoo,
        {"exp_avg": contiguous_zeros, "exp_avg_sq": contiguous_zeros, "blocks": lambda param: []},
        decay=decoupled,
        elementwise=False,
    )
    allows_complex = False
    continuous = False  # rounding decides the root of what should be ε alone
