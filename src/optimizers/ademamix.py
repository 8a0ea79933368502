"""AdEMAMix."""

import math

from torch import Tensor

from src.optimizers.directions import Quotient, decoupled
from src.optimizers.formulas import (
    Scalar,
    average_square_,
    cast,
    corrected_root,
    each,
    power,
    real_zeros,
    zeros,
)
from src.optimizers.method import Method, Rule
from src.optimizers.settings import fractions, length, not_negative, positive, table


def slow_beta(progress: float, beta1: float, beta3: float) -> float:
    """β₃ at a share of the run: its half-life grows linearly from β₁'s to its own."""
    logarithms = [math.log(beta) if beta else -math.inf for beta in (beta1, beta3)]
    inverse = (1 - progress) / logarithms[0] + progress / logarithms[1]
    return min(math.exp(1 / inverse) if inverse else 0.0, beta3)


def ademamix(
    grad: Tensor,
    exp_avg: Tensor,
    exp_avg_slow: Tensor,
    exp_avg_sq: Tensor,
    step: int,
    betas: tuple[Scalar, Scalar, Scalar],
    eps: Scalar,
    alpha: Scalar,
    total_steps: int | None,
) -> list[Quotient]:
    """(m̂ + α·n) / (√v̂ + ε)."""
    beta1, beta2, beta3 = betas
    if total_steps is not None and step < total_steps:
        progress = step / total_steps
        alpha, beta3 = progress * alpha, each(slow_beta, progress, beta1, beta3)
    exp_avg.lerp_(grad, cast(1 - beta1, grad))
    exp_avg_slow.lerp_(grad, cast(1 - beta3, grad))
    average_square_(exp_avg_sq, grad, beta2)
    denom = corrected_root(exp_avg_sq, beta2, step, eps)
    fast = Quotient(exp_avg, denom, 1 - power(beta1, step))
    return [fast, Quotient(exp_avg_slow, denom, factor=alpha)]


class AdEMAMix(Method):
    """AdEMAMix: AdamW whose direction has a second, much slower average of the gradients.

        θ ← (1 − lr·λ)·θ
        m ← β₁·m + (1−β₁)·g
        n ← β₃(t)·n + (1−β₃(t))·g
        v ← β₂·v + (1−β₂)·g·ḡ
        m̂ = m / (1−β₁ᵗ),  v̂ = v / (1−β₂ᵗ)            (t counts from 1)
        θ ← θ − lr·(m̂ + α(t)·n) / (√v̂ + ε)

    Over the T steps of the run α(t) = α·t/T, and 1/ln β₃(t) = (1−t/T)/ln β₁ + (t/T)/ln β₃ (at
    most β₃): the half-life of n grows linearly. From step T on, both are α and β₃.

    Args:
        params: parameters, or groups of them with their own settings.
        lr: learning rate, >= 0; a float or a 0-dim tensor.
        betas: β₁, β₂ and β₃, all in [0, 1).
        eps: ε, > 0.
        weight_decay: λ, the decay per unit of learning rate, >= 0.
        alpha: α, the weight of the slow average, >= 0; 4 to 10 in the paper.
        total_steps: T, a whole number >= 1; None: α and β₃ are constant. In a config null means
            the run's number of steps.
        maximize: climb instead of descend (g is negated first).

    Raises:
        ValueError: a setting is outside its range.
        RuntimeError: a gradient is sparse.

    Reference:
        Pagliardini, Ablin and Grangier, The AdEMAMix Optimizer: Better, Faster, Older, 2024,
        https://arxiv.org/abs/2409.03137

    Deviation from the authors' code: it adds 1e-8 to β in the warm-up of β₃, where the paper has
    nothing. t counts each parameter's own steps. torch.optim has no such class.
    """

    settings = table(
        lr=not_negative(1e-3),
        betas=fractions(0.9, 0.999, 0.9999),
        eps=positive(1e-8),
        weight_decay=not_negative(0.0),
        alpha=not_negative(5.0),
        total_steps=length(),
    )
    rule = Rule(
        ademamix,
        {"exp_avg": zeros, "exp_avg_slow": zeros, "exp_avg_sq": real_zeros},
        decay=decoupled,
    )
