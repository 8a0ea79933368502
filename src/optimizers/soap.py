"""SOAP."""

from dataclasses import replace

import torch
from torch import Tensor

from src.optimizers.adam import adam
from src.optimizers.adamw import AdamW
from src.optimizers.directions import decoupled, tensor
from src.optimizers.matrices import average, eigen, exact, gram, usable
from src.optimizers.method import Method, Rule
from src.optimizers.settings import fractions, not_negative, positive, table, whole

Side = dict[str, Tensor]  # of the rows or the columns: "gram" and "basis", or nothing


def matrix_zeros(param: Tensor) -> Tensor:
    """Zeros like the parameter as a matrix."""
    return torch.zeros_like(param.flatten(1), memory_format=torch.contiguous_format)


def into(matrix: Tensor, rows: Side, columns: Side) -> Tensor:
    """The matrix in the bases: Qₗᵀ·G·Qᵣ."""
    matrix = rows["basis"].mT @ matrix if rows else matrix
    return matrix @ columns["basis"] if columns else matrix


def out_of(matrix: Tensor, rows: Side, columns: Side) -> Tensor:
    """What has this form in the bases: Qₗ·G·Qᵣᵀ."""
    matrix = rows["basis"] @ matrix if rows else matrix
    return matrix @ columns["basis"].mT if columns else matrix


def first(
    grad: Tensor,
    rows: Side,
    columns: Side,
    betas: tuple[float, float],
    max_precondition_dim: int,
) -> None:
    """The bases of the first gradient."""
    matrix = grad.flatten(1).contiguous()
    for side, each in ((rows, matrix), (columns, matrix.mT)):
        if 0 < each.size(0) <= max_precondition_dim:
            side["gram"] = gram(each).mul_(1 - betas[1])
            size = len(side["gram"])
            side["basis"] = torch.eye(size, dtype=grad.dtype, device=grad.device)
            if usable(side["gram"]):
                side["basis"] = eigen(side["gram"])[1].flip(1).to(grad.dtype).contiguous()


def turn(exp_avg: Tensor, exp_avg_sq: Tensor, rows: Side, columns: Side) -> None:
    """One step of power iteration for the bases; m goes along, v keeps to its directions."""
    unturned = out_of(exp_avg, rows, columns)
    for axis, side in enumerate((rows, columns)):
        if side and usable(side["gram"]):
            product = side["gram"] @ side["basis"]
            order = (side["basis"] * product).sum(0).argsort(descending=True, stable=True)
            exp_avg_sq.copy_(exp_avg_sq.index_select(axis, order))
            side["basis"].copy_(torch.linalg.qr(exact(product[:, order]))[0])
    exp_avg.copy_(into(unturned, rows, columns))


def soap(
    grad: Tensor,
    exp_avg: Tensor,
    exp_avg_sq: Tensor,
    rows: Side,
    columns: Side,
    step: int,
    betas: tuple[float, float],
    eps: float,
    precondition_frequency: int,
) -> Tensor:
    """Adam's direction in the bases."""
    if not grad.numel():
        return grad
    matrix = grad.flatten(1).contiguous()
    turned = into(matrix, rows, columns)
    update = tensor(adam(turned, exp_avg, exp_avg_sq, step, betas, eps))
    update = out_of(update, rows, columns)
    for side, each in ((rows, matrix), (columns, matrix.mT)):
        if side:
            average(side["gram"], gram(each), betas[1])
    if step % precondition_frequency == 0:
        turn(exp_avg, exp_avg_sq, rows, columns)
    return update.reshape(grad.shape)


def nothing() -> None:
    """Vectors wait for the matrices."""


class SOAP(Method):
    """SOAP: Adam in the eigenbases of Shampoo's preconditioners; AdamW for vectors and numbers.

    A parameter of two dimensions or more is a matrix; further dimensions are flattened into its
    columns, as for the filters of a convolution.

        L ← (1−β₂)·G·Gᵀ,  R ← (1−β₂)·Gᵀ·G            (the first step, which moves nothing)
        Qₗ, Qᵣ ← the eigenvectors of L and R
        θ ← (1 − lr·λ)·θ                             (each further one; t counts them from 1)
        G′ = Qₗᵀ·G·Qᵣ
        M′ ← β₁·M′ + (1−β₁)·G′
        V ← β₂·V + (1−β₂)·G′²
        U′ = M̂′ / (√V̂ + ε),  M̂′ = M′ / (1−β₁ᵗ),  V̂ = V / (1−β₂ᵗ)
        θ ← θ − lr·Qₗ·U′·Qᵣᵀ
        L ← β₂·L + (1−β₂)·G·Gᵀ,  R ← β₂·R + (1−β₂)·Gᵀ·G
        every f steps  Qₗ ← QR(L·Qₗ),  Qᵣ ← QR(R·Qᵣ)   (columns sorted by QᵀLQ's diagonal, V too)

    Args:
        params: parameters, or groups of them with their own settings.
        lr: learning rate, >= 0; a float or a 0-dim tensor.
        betas: β₁ and β₂, both in [0, 1).
        eps: ε, > 0.
        weight_decay: λ, the decay per unit of learning rate, >= 0.
        precondition_frequency: f, a whole number from 1 to 1000000.
        max_precondition_dim: a longer side keeps its own basis; a whole number from 0 to 1000000.
        maximize: climb instead of descend (g is negated first).

    Raises:
        ValueError: a setting is outside its range, or a parameter is complex.
        RuntimeError: a gradient is sparse.

    Reference:
        Vyas et al., SOAP: Improving and Stabilizing Shampoo using Adam, 2024, algorithm 3,
        https://arxiv.org/abs/2409.11321

    M′ is the paper's M in the bases, turned with them, which spares two products a step.
    Deviations from the authors' code: it adds ε before it corrects V, decays after the step, and
    gives each dimension of a convolution's filters a basis of its own. A gradient so large that
    its square could overflow counts less in L and R; while these aren't finite, the bases stay.
    torch.optim has no such class.
    """

    settings = table(
        lr=not_negative(3e-3),
        betas=fractions(0.95, 0.95),
        eps=positive(1e-8),
        weight_decay=not_negative(1e-2),
        precondition_frequency=whole(10, 1, 10**6),
        max_precondition_dim=whole(10_000, 0, 10**6),
    )
    rule = Rule(
        soap,
        {
            "exp_avg": matrix_zeros,
            "exp_avg_sq": matrix_zeros,
            "rows": lambda param: {},
            "columns": lambda param: {},
        },
        decay=decoupled,
        elementwise=False,
        prepare=first,
    )
    rest = replace(AdamW.rule, prepare=nothing)
    allows_complex = False
    continuous = False  # rounding chooses the basis of a null space
