"""Muon."""

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from src.optimizers.adamw import AdamW
from src.optimizers.directions import decoupled
from src.optimizers.formulas import Scalar, cast, smallest_normal, zeros
from src.optimizers.matrices import add_product, norm, product
from src.optimizers.method import Method, Rule
from src.optimizers.settings import (
    choice,
    flag,
    fraction,
    fractions,
    not_negative,
    numbers,
    positive,
    table,
    whole,
)

# Larger numbers are inf in bfloat16, and inf / inf is NaN; the squares of smaller ones are 0.
LARGEST = torch.finfo(torch.bfloat16).max
SMALLEST = math.sqrt(smallest_normal(torch.bfloat16))


def orthogonalize(matrix: Tensor, coefficients: Sequence[float], steps: int, eps: float) -> Tensor:
    """Newton-Schulz: the matrix with its singular values brought near 1, in bfloat16.

    The iteration of odd polynomials x ← a·x + b·x³ + c·x⁵ acts on the singular values alone.

    Args:
        matrix: (rows, columns); of several runs, (runs, rows, columns).
    """
    a, b, c = coefficients
    tall = matrix.size(-2) > matrix.size(-1)
    largest = min(LARGEST, torch.finfo(matrix.dtype).max)
    x = matrix.clamp(-largest, largest).bfloat16()
    x = x.mT if tall else x
    x.div_(norm(x).clamp(min=max(eps, SMALLEST)))
    for _ in range(steps):
        gram = product(x, x.mT)
        x = add_product(x, add_product(gram, gram, gram, b, c), x, a)
    return x.mT if tall else x


def scale(adjustment: str, rows: int, columns: int) -> float:
    """s, the factor of a step of a matrix of this shape."""
    if adjustment == "match_rms_adamw":
        return 0.2 * math.sqrt(max(rows, columns))
    ratio = rows / columns
    return math.sqrt(max(1.0, ratio) if adjustment == "original" else ratio)


def muon(
    grad: Tensor,
    momentum_buffer: Tensor,
    momentum: Scalar,
    nesterov: bool,
    ns_coefficients: Sequence[float],
    ns_steps: int,
    eps: float,
    adjust_lr_fn: str,
) -> Tensor:
    """s·X."""
    if not grad.numel():
        return grad
    momentum_buffer.lerp_(grad, cast(1 - momentum, grad))
    update = grad.lerp(momentum_buffer, cast(momentum, grad)) if nesterov else momentum_buffer
    matrix = update.flatten(2)
    matrix = matrix[0] if len(matrix) == 1 else matrix
    update = orthogonalize(matrix, ns_coefficients, ns_steps, eps).to(grad.dtype)
    return update.mul_(scale(adjust_lr_fn, *matrix.shape[-2:])).reshape(grad.shape)


class Muon(Method):
    """Muon: matrices move along their orthogonalized momentum, other parameters by AdamW.

    A parameter of two dimensions or more is a matrix; further dimensions are flattened into its
    columns, as for the filters of a convolution. One with the attribute `hidden = False` isn't:
    the method is for hidden layers. A run sets it for embeddings, and for the layers that a model
    names in `outer_layers`.

        B ← μ·B + (1−μ)·G
        C = (1−μ)·G + μ·B            with nesterov, else C = B
        X ← C / max(‖C‖, ε), then k times  X ← a·X + (b·A + c·A·A)·X  with A = X·Xᵀ
        θ ← (1 − lr·λ)·θ − lr·s·X

    s depends on adjust_lr_fn and the matrix's shape, rows × columns:
    match_rms_adamw    s = 0.2·√max(rows, columns)
    original           s = √max(1, rows / columns)
    spectral_unclamped s = √(rows / columns)

    Args:
        params: parameters, or groups of them with their own settings.
        lr: learning rate, >= 0, of the matrices and of AdamW; a float or a 0-dim tensor.
        weight_decay: λ, the decay per unit of learning rate, >= 0.
        momentum: μ, in [0, 1).
        nesterov: look ahead by one step of momentum.
        ns_coefficients: a, b and c.
        eps: ε, > 0.
        ns_steps: k, a whole number from 1 to 99.
        adjust_lr_fn: "match_rms_adamw", "original" or "spectral_unclamped".
        adamw_betas: β₁ and β₂ of AdamW, both in [0, 1).
        adamw_eps: ε of AdamW, > 0.
        maximize: climb instead of descend (the gradient is negated first).

    Raises:
        ValueError: a setting is outside its range, or a parameter is complex.
        RuntimeError: a gradient is sparse.

    References:
        Jordan et al., Muon: An optimizer for hidden layers in neural networks, 2024,
        https://kellerjordan.github.io/posts/muon/
        Liu et al., Muon is Scalable for LLM Training, 2025 (match_rms_adamw),
        https://arxiv.org/abs/2502.16982

    Deviations from torch.optim.Muon, which takes two-dimensional parameters only: the others go
    to AdamW inside this class, and so match_rms_adamw is the default, with which one learning
    rate serves both; there is maximize. The authors give a network's last layer to AdamW, and a
    convolutional one's first; here that is so for models that name them, which the MLP, older than
    that, doesn't. C is clamped to bfloat16's range, and divided by 1e-19
    at the least, below which squares vanish; AdamW's β₂ and ε are read as AdamW reads them.
    """

    settings = table(
        lr=not_negative(1e-3),
        weight_decay=not_negative(0.1),
        momentum=fraction(0.95),
        nesterov=flag(True),
        ns_coefficients=numbers(3.4445, -4.775, 2.0315),
        eps=positive(1e-7),
        ns_steps=whole(5, 1, 99),
        adjust_lr_fn=choice("match_rms_adamw", "original", "spectral_unclamped"),
        adamw_betas=fractions(0.9, 0.95),
        adamw_eps=positive(1e-8),
    )
    rule = Rule(muon, {"momentum_buffer": zeros}, decay=decoupled, elementwise=False, leads=True)
    rest = replace(AdamW.rule, renamed={"betas": "adamw_betas", "eps": "adamw_eps"})
    hidden_only = True
    allows_complex = False
