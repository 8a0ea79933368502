"""AdaBelief."""

from dataclasses import replace

from torch import Tensor

from src.optimizers.adamw import AdamW
from src.optimizers.directions import Quotient
from src.optimizers.formulas import (
    Scalar,
    average_square_,
    cast,
    epsilon,
    power,
    real_zeros,
    zeros,
)
from src.optimizers.method import Method
from src.optimizers.settings import fractions, not_negative, positive, table


def adabelief(
    grad: Tensor,
    exp_avg: Tensor,
    exp_avg_var: Tensor,
    step: int,
    betas: tuple[Scalar, Scalar],
    eps: Scalar,
) -> Quotient:
    """m̂ / (√ŝ + ε)."""
    beta1, beta2 = betas
    least = epsilon(eps, grad)
    exp_avg.lerp_(grad, cast(1 - beta1, grad))
    average_square_(exp_avg_var, grad - exp_avg, beta2)
    exp_avg_var.add_(least)
    correction = cast(1 - power(beta2, step), grad)
    denom = (exp_avg_var / correction).sqrt_().add_(least)
    return Quotient(exp_avg, denom, 1 - power(beta1, step))


class AdaBelief(Method):
    """AdaBelief: Adam whose steps are long where a gradient is as its average foretold.

        θ ← (1 − lr·λ)·θ
        m ← β₁·m + (1−β₁)·g
        s ← β₂·s + (1−β₂)·|g − m|² + ε
        m̂ = m / (1−β₁ᵗ),  ŝ = s / (1−β₂ᵗ)            (t counts from 1)
        θ ← θ − lr·m̂ / (√ŝ + ε)

    Args:
        params: parameters, or groups of them with their own settings.
        lr: learning rate, >= 0; a float or a 0-dim tensor.
        betas: β₁ and β₂, both in [0, 1).
        eps: ε, > 0.
        weight_decay: λ, the decay per unit of learning rate, >= 0.
        maximize: climb instead of descend (g is negated first).

    Raises:
        ValueError: a setting is outside its range.
        RuntimeError: a gradient is sparse.

    Reference:
        Zhuang et al., AdaBelief Optimizer: Adapting Stepsizes by the Belief in Observed Gradients,
        2020, algorithm 2, https://arxiv.org/abs/2010.07468

    Deviation from the paper, as in its authors' code: decoupled weight decay, and an ε of 1e-16.
    That code also has RAdam's rectification, which the paper's algorithm doesn't. torch.optim has
    no such class.
    """

    settings = table(
        lr=not_negative(1e-3),
        betas=fractions(0.9, 0.999),
        eps=positive(1e-16),
        weight_decay=not_negative(0.0),
    )
    rule = replace(
        AdamW.rule, direction=adabelief, state={"exp_avg": zeros, "exp_avg_var": real_zeros}
    )
