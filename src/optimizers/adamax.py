"""AdaMax."""

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


def adamax(
    param: Tensor,
    grad: Tensor,
    exp_avg: Tensor,
    exp_inf: Tensor,
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
    exp_inf.mul_(cast(beta2, param))
    torch.maximum(exp_inf, grad.abs().add_(epsilon(eps, param)), out=exp_inf)
    step_size = lr / (1 - power(beta1, step))
    add_quotient_(param, -step_size, exp_avg, exp_inf)


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
    An ε too small for the parameter's precision is read as its smallest normal number.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def check(self, group: Group) -> None:
        check_not_negative(lr=group["lr"], weight_decay=group["weight_decay"])
        check_betas(betas=group["betas"])
        check_positive(eps=group["eps"])

    def initial_state(self, param: Tensor, group: Group) -> State:
        return {"step": 0, "exp_avg": zeros(param), "exp_inf": real_zeros(param)}

    def update(self, param: Tensor, grad: Tensor, state: State, group: Group) -> None:
        state["step"] += 1
        blockwise(
            adamax,
            (param, grad, state["exp_avg"], state["exp_inf"]),
            state["step"],
            group["lr"],
            *group["betas"],
            group["eps"],
            group["weight_decay"],
        )
