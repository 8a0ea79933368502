"""NAdam."""

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
from src.optimizers.kernels import Group, State
from src.optimizers.method import Method, Rule
from src.optimizers.settings import fractions, not_negative, positive, table


def momentum_at(step: int, beta1: Scalar, momentum_decay: Scalar) -> Scalar:
    """μ at a step: it rises from β₁/2 towards β₁."""
    return beta1 * (1 - 0.5 * power(0.96, step * momentum_decay))


def nadam(
    grad: Tensor,
    exp_avg: Tensor,
    exp_avg_sq: Tensor,
    step: int,
    mu_product: Scalar,
    betas: tuple[Scalar, Scalar],
    eps: Scalar,
    momentum_decay: Scalar,
) -> list[Quotient]:
    """m̂ / (√v̂ + ε); ``mu_product`` is μ₁·…·μₜ."""
    beta1, beta2 = betas
    mu = momentum_at(step, beta1, momentum_decay)
    mu_next = momentum_at(step + 1, beta1, momentum_decay)
    exp_avg.lerp_(grad, cast(1 - beta1, grad))
    average_square_(exp_avg_sq, grad, beta2)
    denom = corrected_root(exp_avg_sq, beta2, step, eps)
    return [
        Quotient(exp_avg, denom, 1 - mu_product * mu_next, factor=mu_next),
        Quotient(grad, denom, 1 - mu_product, factor=1 - mu),
    ]


class NAdam(Method):
    """NAdam: Adam that looks ahead as Nesterov does, with a momentum that warms up.

        g ← g + λ·θ
        μₜ = β₁·(1 − ½·0.96^(t·ψ)),  πₜ = μ₁·…·μₜ            (t counts from 1)
        m ← β₁·m + (1−β₁)·g
        v ← β₂·v + (1−β₂)·g·ḡ
        m̂ = μₜ₊₁·m / (1−πₜ₊₁) + (1−μₜ)·g / (1−πₜ),  v̂ = v / (1−β₂ᵗ)
        θ ← θ − lr·m̂ / (√v̂ + ε)

    Args:
        params: parameters, or groups of them with their own settings.
        lr: learning rate, >= 0; a float or a 0-dim tensor.
        betas: β₁ and β₂, both in [0, 1).
        eps: ε, > 0.
        weight_decay: λ, the L2 penalty's factor, >= 0.
        momentum_decay: ψ, >= 0.
        maximize: climb instead of descend (g is negated first).

    Raises:
        ValueError: a setting is outside its range.
        RuntimeError: a gradient is sparse.

    Reference:
        Dozat, Incorporating Nesterov Momentum into Adam, 2016,
        https://openreview.net/forum?id=OM0jvwB8jIp57ZJjtNEZ

    Deviation from the paper: the L2 penalty. Deviations from torch.optim.NAdam: no decoupled
    weight decay; ε is not 0; the product is kept in double; a complex element has one v, the
    average of |g|².
    """

    settings = table(
        lr=not_negative(2e-3),
        betas=fractions(0.9, 0.999),
        eps=positive(1e-8),
        weight_decay=not_negative(0.0),
        momentum_decay=not_negative(4e-3),
    )
    rule = Rule(
        nadam, {"mu_product": lambda param: 1.0, "exp_avg": zeros, "exp_avg_sq": real_zeros}
    )

    def update(self, param: Tensor, grad: Tensor, state: State, group: Group) -> None:
        mu = momentum_at(state["step"] + 1, group["betas"][0], group["momentum_decay"])
        state["mu_product"] *= mu
        super().update(param, grad, state, group)
