"""Adan."""

from torch import Tensor

from src.optimizers.directions import Quotient
from src.optimizers.formulas import (
    Scalar,
    add_scaled,
    average_square_,
    cast,
    corrected_root,
    power,
    real_zeros,
    zeros,
)
from src.optimizers.method import Method, Rule
from src.optimizers.settings import fractions, not_negative, positive, table


def adan(
    param: Tensor,
    grad: Tensor,
    previous_grad: Tensor,
    exp_avg: Tensor,
    exp_avg_diff: Tensor,
    exp_avg_sq: Tensor,
    step: int,
    lr: Scalar,
    betas: tuple[Scalar, Scalar, Scalar],
    eps: Scalar,
    weight_decay: Scalar,
) -> list[Quotient]:
    """(m̂ + β₂·d̂) / (√n̂ + ε), and the decay of what it leads to."""
    beta1, beta2, beta3 = betas
    if step == 1:
        previous_grad.copy_(grad)
    diff = grad - previous_grad
    previous_grad.copy_(grad)
    exp_avg.lerp_(grad, cast(1 - beta1, grad))
    exp_avg_diff.lerp_(diff, cast(1 - beta2, grad))
    average_square_(exp_avg_sq, add_scaled(grad, beta2, diff), beta3)
    denom = corrected_root(exp_avg_sq, beta3, step, eps)
    shrink = 1 + lr * weight_decay
    if isinstance(shrink, Tensor) or shrink != 1:
        param.div_(cast(shrink, param))
    return [
        Quotient(exp_avg, denom, (1 - power(beta1, step)) * shrink),
        Quotient(exp_avg_diff, denom, (1 - power(beta2, step)) * shrink, factor=beta2),
    ]


class Adan(Method):
    """Adan: Adam with Nesterov's momentum, written with the differences of gradients.

        d = g − g′                              (g′ is the gradient before; d = 0 at first)
        m ← β₁·m + (1−β₁)·g
        δ ← β₂·δ + (1−β₂)·d
        n ← β₃·n + (1−β₃)·(g + β₂·d)²
        m̂ = m / (1−β₁ᵗ),  δ̂ = δ / (1−β₂ᵗ),  n̂ = n / (1−β₃ᵗ)            (t counts from 1)
        θ ← (θ − lr·(m̂ + β₂·δ̂) / (√n̂ + ε)) / (1 + lr·λ)

    Args:
        params: parameters, or groups of them with their own settings.
        lr: learning rate, >= 0; a float or a 0-dim tensor.
        betas: β₁, β₂ and β₃, all in [0, 1).
        eps: ε, > 0.
        weight_decay: λ, the decay per unit of learning rate, >= 0.
        maximize: climb instead of descend (g is negated first).

    Raises:
        ValueError: a setting is outside its range.
        RuntimeError: a gradient is sparse.

    Reference:
        Xie et al., Adan: Adaptive Nesterov Momentum Algorithm for Faster Optimizing Deep Models,
        2022, algorithm 1, https://arxiv.org/abs/2208.06677

    Deviations from the paper, as in its authors' code: the averages are corrected for starting at
    0; its β are 1 − β here; there is no restart. Of a complex gradient n averages the squared
    modulus. torch.optim has no such class.
    """

    settings = table(
        lr=not_negative(1e-3),
        betas=fractions(0.98, 0.92, 0.99),
        eps=positive(1e-8),
        weight_decay=not_negative(0.0),
    )
    rule = Rule(
        adan,
        {
            "exp_avg": zeros,
            "exp_avg_diff": zeros,
            "exp_avg_sq": real_zeros,
            "previous_grad": zeros,
        },
        decay=None,
    )
