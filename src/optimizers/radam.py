"""RAdam."""

import torch
from torch import Tensor

from src.optimizers.directions import Quotient
from src.optimizers.formulas import (
    Scalar,
    average_square_,
    cast,
    epsilon,
    power,
    real_zeros,
    root,
    zeros,
)
from src.optimizers.method import Method, Rule
from src.optimizers.settings import fractions, not_negative, positive, table


def sample_length(step: int, beta2: Scalar) -> Scalar:
    """ρ: the number of gradients that the average of squares amounts to."""
    decayed = power(beta2, step)
    return 2 / (1 - beta2) - 1 - 2 * step * decayed / (1 - decayed)


def rectification(length: Scalar, beta2: Scalar) -> Scalar:
    """r: the rectification of the adaptive step's variance, near 1 for a long average."""
    limit = 2 / (1 - beta2) - 1
    return root((length - 4) * (length - 2) * limit / ((limit - 4) * (limit - 2) * length))


def radam(
    grad: Tensor,
    exp_avg: Tensor,
    exp_avg_sq: Tensor,
    step: int,
    betas: tuple[Scalar, Scalar],
    eps: Scalar,
) -> Quotient:
    """r·m̂ / (√v̂ + ε), or m̂."""
    beta1, beta2 = betas
    exp_avg.lerp_(grad, cast(1 - beta1, grad))
    average_square_(exp_avg_sq, grad, beta2)
    length = sample_length(step, beta2)
    denom = grad.real.new_ones(())
    if isinstance(length, Tensor) or length > 5:
        gain = rectification(length, beta2) * root(1 - power(beta2, step))
        denom = exp_avg_sq.sqrt().add_(epsilon(eps, grad)).div_(cast(gain, grad))
    if isinstance(length, Tensor):
        denom = torch.where((length > 5).to(grad.device), denom, 1.0)
    return Quotient(exp_avg, denom, 1 - power(beta1, step))


class RAdam(Method):
    """RAdam: Adam once enough gradients have been seen to trust v, until then momentum.

        g ← g + λ·θ
        m ← β₁·m + (1−β₁)·g
        v ← β₂·v + (1−β₂)·g·ḡ
        m̂ = m / (1−β₁ᵗ)            (t counts from 1)
        ρ∞ = 2/(1−β₂) − 1,  ρ = ρ∞ − 2·t·β₂ᵗ / (1−β₂ᵗ)
        if ρ > 5:  r = √((ρ−4)·(ρ−2)·ρ∞ / ((ρ∞−4)·(ρ∞−2)·ρ))
                   θ ← θ − lr·m̂·r·√(1−β₂ᵗ) / (√v + ε)
        else:      θ ← θ − lr·m̂

    Args:
        params: parameters, or groups of them with their own settings.
        lr: learning rate, >= 0; a float or a 0-dim tensor.
        betas: β₁ and β₂, both in [0, 1).
        eps: ε, > 0.
        weight_decay: λ, the L2 penalty's factor, >= 0.
        maximize: climb instead of descend (g is negated first).

    Raises:
        ValueError: a setting is outside its range.
        RuntimeError: a gradient is sparse.

    Reference:
        Liu et al., On the Variance of the Adaptive Learning Rate and Beyond, 2020,
        https://arxiv.org/abs/1908.03265

    Deviation from the paper: it starts at ρ > 4 and has no ε; 5 and ε are those of its authors'
    code and of torch. Deviations from torch.optim.RAdam: no decoupled weight decay; ε is not 0; a
    complex element has one v, the average of |g|².
    """

    settings = table(
        lr=not_negative(1e-3),
        betas=fractions(0.9, 0.999),
        eps=positive(1e-8),
        weight_decay=not_negative(0.0),
    )
    rule = Rule(radam, {"exp_avg": zeros, "exp_avg_sq": real_zeros})
