"""LAMB."""

from dataclasses import replace

from torch import Tensor

from src.optimizers.adam import Adam, adam
from src.optimizers.directions import descend, trust_ratio
from src.optimizers.formulas import Scalar, cast
from src.optimizers.method import Method
from src.optimizers.settings import fractions, not_negative, positive, table


def lamb(
    param: Tensor,
    grad: Tensor,
    exp_avg: Tensor,
    exp_avg_sq: Tensor,
    step: int,
    betas: tuple[Scalar, Scalar],
    eps: Scalar,
    weight_decay: Scalar,
) -> Tensor:
    """Adam's direction and the decay, as long as the parameter."""
    update = param * cast(weight_decay, param)
    descend(update, adam(grad, exp_avg, exp_avg_sq, step, betas, eps), -1.0)
    return trust_ratio(update, param)


class LAMB(Method):
    """LAMB: every tensor moves by lr times its own norm, in the direction of AdamW.

        m ← β₁·m + (1−β₁)·g
        v ← β₂·v + (1−β₂)·g·ḡ
        u = m̂ / (√v̂ + ε) + λ·θ,  m̂ = m / (1−β₁ᵗ),  v̂ = v / (1−β₂ᵗ)            (t counts from 1)
        θ ← θ − lr·u·‖θ‖ / ‖u‖            (θ − lr·u where a norm is 0)

    Args:
        params: parameters, or groups of them with their own settings.
        lr: learning rate, >= 0; a float or a 0-dim tensor.
        betas: β₁ and β₂, both in [0, 1).
        eps: ε, > 0.
        weight_decay: λ, the decay's part of the direction, >= 0.
        maximize: climb instead of descend (g is negated first).

    Raises:
        ValueError: a setting is outside its range.
        RuntimeError: a gradient is sparse.

    Reference:
        You et al., Large Batch Optimization for Deep Learning: Training BERT in 76 Minutes, 2020,
        algorithm 2, with φ(z) = z, https://arxiv.org/abs/1904.00962

    The paper leaves open what happens where a norm is 0. torch.optim has no such class.
    """

    settings = table(
        lr=not_negative(1e-3),
        betas=fractions(0.9, 0.999),
        eps=positive(1e-6),
        weight_decay=not_negative(1e-2),
    )
    rule = replace(Adam.rule, direction=lamb, decay=None, elementwise=False)
