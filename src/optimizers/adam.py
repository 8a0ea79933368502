"""Adam."""

from collections.abc import Callable

import torch
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
    fusible,
    next_steps,
    not_zero,
    power,
    real_zeros,
    zeros,
)


def adam(
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
) -> None:
    """Step number ``step``, counted from 1, in place."""
    grad = add_l2(grad, param, weight_decay)
    exp_avg.lerp_(grad, cast(1 - beta1, param))
    average_square_(exp_avg_sq, grad, beta2)
    step_size = lr / (1 - power(beta1, step))
    correction = cast(1 - power(beta2, step), param)
    denom = (exp_avg_sq / correction).sqrt_().add_(epsilon(eps, param))
    add_quotient_(param, -step_size, exp_avg, denom)


class Adam(Method):
    """Adam: each element's step is scaled by running averages of its gradient and its square.

        g ← g + λ·θ
        m ← β₁·m + (1−β₁)·g
        v ← β₂·v + (1−β₂)·g·ḡ
        m̂ = m / (1−β₁ᵗ),  v̂ = v / (1−β₂ᵗ)            (t counts from 1)
        θ ← θ − lr·m̂ / (√v̂ + ε)

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
        Kingma and Ba, Adam: A Method for Stochastic Optimization, 2015,
        https://arxiv.org/abs/1412.6980

    Deviation from the paper: the L2 penalty. Deviations from torch.optim.Adam: ε is not 0, since
    a zero gradient would then give 0/0; a complex element has one v, the average of |g|², where
    torch treats its real and imaginary parts as two elements. A gradient whose square overflows
    makes v infinite and stops that element, as in torch.
    A β₂ of 0, and an ε too small for the parameter's precision, are read as its smallest normal
    number.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
        fused: bool = True,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "maximize": maximize,
            "fused": fused,
        }
        super().__init__(params, defaults)

    def check(self, group: Group) -> None:
        check_not_negative(lr=group["lr"], weight_decay=group["weight_decay"])
        check_betas(betas=group["betas"])
        check_positive(eps=group["eps"])

    def initial_state(self, param: Tensor, group: Group) -> State:
        return {"step": 0, "exp_avg": zeros(param), "exp_avg_sq": real_zeros(param)}

    def update(self, param: Tensor, grad: Tensor, state: State, group: Group) -> None:
        state["step"] += 1
        blockwise(
            adam,
            (param, grad, state["exp_avg"], state["exp_avg_sq"]),
            state["step"],
            group["lr"],
            *group["betas"],
            group["eps"],
            group["weight_decay"],
        )

    def update_all(
        self, params: list[Tensor], grads: list[Tensor], states: list[State], group: Group
    ) -> None:
        if group["fused"] and fusible(params, grads, states):
            fused_adam(torch._fused_adam_, params, grads, states, group)
        else:
            super().update_all(params, grads, states, group)


def fused_adam(
    kernel: Callable[..., None],
    params: list[Tensor],
    grads: list[Tensor],
    states: list[State],
    group: Group,
) -> None:
    """One of torch's two kernels of this family; with the maxima of AMSGrad where they are kept."""
    maxima = [state["max_exp_avg_sq"] for state in states if "max_exp_avg_sq" in state]
    kernel(
        params,
        grads,
        [state["exp_avg"] for state in states],
        [state["exp_avg_sq"] for state in states],
        maxima,
        next_steps(states, params[0].device),
        amsgrad=bool(maxima),
        lr=group["lr"],
        beta1=group["betas"][0],
        beta2=not_zero(group["betas"][1], params[0]),
        weight_decay=group["weight_decay"],
        eps=not_zero(group["eps"], params[0]),
        maximize=group["maximize"],
    )
