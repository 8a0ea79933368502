"""NAdam."""

from torch import Tensor
from torch.optim.optimizer import ParamsT

from src.optimizers.base import (
    Group,
    Method,
    Scalar,
    State,
    add_l2,
    add_quotient_,
    average_square_,
    blockwise,
    cast,
    check_betas,
    check_not_negative,
    check_positive,
    epsilon,
    power,
    real_zeros,
    zeros,
)


def momentum_at(step: int, beta1: Scalar, momentum_decay: Scalar) -> Scalar:
    """μ at a step: it rises from β₁/2 towards β₁."""
    return beta1 * (1 - 0.5 * power(0.96, step * momentum_decay))


def nadam(
    param: Tensor,
    grad: Tensor,
    exp_avg: Tensor,
    exp_avg_sq: Tensor,
    step: int,
    lr: Scalar,
    beta1: Scalar,
    beta2: Scalar,
    eps: Scalar,
    weight_decay: Scalar,
    momentum_decay: Scalar,
    mu_product: Scalar,
) -> None:
    """Step number ``step``, counted from 1, in place; ``mu_product`` is μ₁·…·μₜ."""
    grad = add_l2(grad, param, weight_decay)
    mu = momentum_at(step, beta1, momentum_decay)
    mu_next = momentum_at(step + 1, beta1, momentum_decay)
    exp_avg.lerp_(grad, cast(1 - beta1, param))
    average_square_(exp_avg_sq, grad, beta2)
    correction = cast(1 - power(beta2, step), param)
    denom = (exp_avg_sq / correction).sqrt_().add_(epsilon(eps, param))
    add_quotient_(param, -lr * mu_next / (1 - mu_product * mu_next), exp_avg, denom)
    add_quotient_(param, -lr * (1 - mu) / (1 - mu_product), grad, denom)


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
    A β₂ of 0, and an ε too small for the parameter's precision, are read as its smallest normal
    number.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum_decay: float = 4e-3,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "momentum_decay": momentum_decay,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def check(self, group: Group) -> None:
        check_not_negative(
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            momentum_decay=group["momentum_decay"],
        )
        check_betas(betas=group["betas"])
        check_positive(eps=group["eps"])

    def initial_state(self, param: Tensor, group: Group) -> State:
        return {
            "step": 0,
            "mu_product": 1.0,
            "exp_avg": zeros(param),
            "exp_avg_sq": real_zeros(param),
        }

    def update(self, param: Tensor, grad: Tensor, state: State, group: Group) -> None:
        state["step"] += 1
        mu = momentum_at(state["step"], group["betas"][0], group["momentum_decay"])
        state["mu_product"] *= mu
        blockwise(
            nadam,
            (param, grad, state["exp_avg"], state["exp_avg_sq"]),
            state["step"],
            group["lr"],
            *group["betas"],
            group["eps"],
            group["weight_decay"],
            group["momentum_decay"],
            state["mu_product"],
        )
