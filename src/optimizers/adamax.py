"""AdaMax."""

import torch
from torch import Tensor

from src.optimizers.directions import Quotient
from src.optimizers.formulas import Scalar, cast, epsilon, power, real_zeros, zeros
from src.optimizers.method import Method, Rule
from src.optimizers.settings import fractions, not_negative, positive, table


def adamax(
    grad: Tensor,
    exp_avg: Tensor,
    exp_inf: Tensor,
    step: int,
    betas: tuple[Scalar, Scalar],
    eps: Scalar,
) -> Quotient:
    """m̂ / u."""
    beta1, beta2 = betas
    exp_avg.lerp_(grad, cast(1 - beta1, grad))
    exp_inf.mul_(cast(beta2, grad))
    torch.maximum(exp_inf, grad.abs().add_(epsilon(eps, grad)), out=exp_inf)
    return Quotient(exp_avg, exp_inf, 1 - power(beta1, step))


class AdaMax(Method):
    """AdaMax: Adam with the largest gradient so far, slowly forgotten, in place of the average.

        g ← g + λ·θ
        m ← β₁·m + (1−β₁)·g
        u ← max(β₂·u, |g| + ε)
        θ ← θ − lr / (1−β₁ᵗ) · m / u            (t counts from 1)

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
        Kingma and Ba, Adam: A Method for Stochastic Optimization, 2015, section 7.1,
        https://arxiv.org/abs/1412.6980

    Deviation from the paper: ε, as in torch, which keeps a gradient of 0 from giving 0/0, and the
    L2 penalty. Deviations from torch.optim.Adamax: ε is not 0; a complex element has one u, from
    the gradient's absolute value.
    """

    settings = table(
        lr=not_negative(2e-3),
        betas=fractions(0.9, 0.999),
        eps=positive(1e-8),
        weight_decay=not_negative(0.0),
    )
    rule = Rule(adamax, {"exp_avg": zeros, "exp_inf": real_zeros})
