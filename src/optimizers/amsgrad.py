"""AMSGrad."""

import torch
from torch import Tensor

from src.optimizers.directions import Quotient
from src.optimizers.formulas import (
    Scalar,
    average_square_,
    cast,
    corrected_root,
    power,
    real_zeros,
    zeros,
)
from src.optimizers.kernels import fused_adam
from src.optimizers.method import Method, Rule
from src.optimizers.settings import fractions, not_negative, positive, table


def amsgrad(
    grad: Tensor,
    exp_avg: Tensor,
    exp_avg_sq: Tensor,
    max_exp_avg_sq: Tensor,
    step: int,
    betas: tuple[Scalar, Scalar],
    eps: Scalar,
) -> Quotient:
    """Adam's direction, with the largest v so far."""
    beta1, beta2 = betas
    exp_avg.lerp_(grad, cast(1 - beta1, grad))
    average_square_(exp_avg_sq, grad, beta2)
    torch.maximum(max_exp_avg_sq, exp_avg_sq, out=max_exp_avg_sq)
    denom = corrected_root(max_exp_avg_sq, beta2, step, eps)
    return Quotient(exp_avg, denom, 1 - power(beta1, step))


class AMSGrad(Method):
    """AMSGrad: Adam whose denominator never falls.

        g ← g + λ·θ
        m ← β₁·m + (1−β₁)·g
        v ← β₂·v + (1−β₂)·g·ḡ
        w ← max(w, v)
        m̂ = m / (1−β₁ᵗ),  ŵ = w / (1−β₂ᵗ)            (t counts from 1)
        θ ← θ − lr·m̂ / (√ŵ + ε)

    Args:
        params: parameters, or groups of them with their own settings.
        lr: learning rate, >= 0; a float or a 0-dim tensor.
        betas: β₁ and β₂, both in [0, 1).
        eps: ε, > 0.
        weight_decay: λ, the L2 penalty's factor, >= 0.
        maximize: climb instead of descend (g is negated first).
        fused: let torch's fused kernel compute the same formula where it can.

    Raises:
        ValueError: a setting is outside its range.
        RuntimeError: a gradient is sparse.

    Reference:
        Reddi, Kale and Kumar, On the Convergence of Adam and Beyond, 2018,
        https://openreview.net/forum?id=ryQu7f-RZ

    Deviation from the paper, as in torch.optim.Adam(amsgrad=True): bias corrections, ε, and the
    L2 penalty; the maximum is taken before the correction. Deviations from torch: ε is not 0; a
    complex element has one v, the average of |g|².
    """

    settings = table(
        lr=not_negative(1e-3),
        betas=fractions(0.9, 0.999),
        eps=positive(1e-8),
        weight_decay=not_negative(0.0),
    )
    rule = Rule(
        amsgrad,
        {"exp_avg": zeros, "exp_avg_sq": real_zeros, "max_exp_avg_sq": real_zeros},
    )
    kernel = fused_adam
