"""MARS."""

from dataclasses import replace

import torch
from torch import Tensor

from src.optimizers.adam import adam
from src.optimizers.adamw import AdamW
from src.optimizers.directions import Quotient
from src.optimizers.formulas import Scalar, add_scaled, zeros
from src.optimizers.method import Method
from src.optimizers.settings import fractions, not_negative, positive, table


def corrected(grad: Tensor, previous_grad: Tensor, weight: Scalar) -> Tensor:
    """The gradient and a part of its change, with a norm of 1 at most."""
    change = add_scaled(grad, weight, grad - previous_grad)
    norm = torch.linalg.vector_norm(change)
    if norm.isfinite():  # waits for the device
        return change.div_(norm.clamp_(min=1.0))
    largest = torch.maximum(grad.abs().max(), previous_grad.abs().max())
    unit = grad / largest  # in units of the largest element no square overflows
    change = add_scaled(unit, weight, unit - previous_grad / largest)
    return change.div_(torch.linalg.vector_norm(change))


def mars(
    grad: Tensor,
    previous_grad: Tensor,
    exp_avg: Tensor,
    exp_avg_sq: Tensor,
    step: int,
    betas: tuple[Scalar, Scalar],
    eps: Scalar,
    gamma: Scalar,
) -> Quotient:
    """Adam's direction, of corrected gradients."""
    change = corrected(grad, previous_grad, gamma * betas[0] / (1 - betas[0]))
    previous_grad.copy_(grad)
    return adam(change, exp_avg, exp_avg_sq, step, betas, eps)


class MARS(Method):
    """MARS-AdamW: AdamW on gradients whose variance is reduced by the step before.

        c = g + γ·β₁/(1−β₁)·(g − g′)            (g′ is the gradient before, 0 at first)
        c ← c / max(‖c‖, 1)                     (the norm is the tensor's)
        θ ← (1 − lr·λ)·θ
        m ← β₁·m + (1−β₁)·c
        v ← β₂·v + (1−β₂)·c·c̄
        m̂ = m / (1−β₁ᵗ),  v̂ = v / (1−β₂ᵗ)       (t counts from 1)
        θ ← θ − lr·m̂ / (√v̂ + ε)

    Args:
        params: parameters, or groups of them with their own settings.
        lr: learning rate, >= 0; a float or a 0-dim tensor.
        betas: β₁ and β₂, both in [0, 1).
        gamma: γ, how far the gradient is corrected, >= 0.
        eps: ε, > 0.
        weight_decay: λ, the decay per unit of learning rate, >= 0.
        maximize: climb instead of descend (g is negated first).

    Raises:
        ValueError: a setting is outside its range.
        RuntimeError: a gradient is sparse.

    Reference:
        Yuan et al., MARS: Unleashing the Power of Variance Reduction for Training Large Models,
        2024, algorithm 2 in its approximate form, https://arxiv.org/abs/2411.10438

    Deviations from the paper, as in its authors' code: g′ is the last batch's gradient, where the
    exact form takes this batch's at the last weights, at twice the cost; the norm is each tensor's
    own; g′ is 0 at first, where the paper begins without a difference. That code gives vectors to
    AdamW unless `optimize_1d` is set; here all go the same way. torch.optim has no such class.
    """

    settings = table(
        lr=not_negative(3e-3),
        betas=fractions(0.95, 0.99),
        gamma=not_negative(0.025),
        eps=positive(1e-8),
        weight_decay=not_negative(0.0),
    )
    rule = replace(
        AdamW.rule,
        direction=mars,
        state={**AdamW.rule.state, "previous_grad": zeros},
        elementwise=False,
    )
