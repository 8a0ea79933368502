"""Gradient descent."""

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from src.optimizers.base import (
    Group,
    Method,
    Scalar,
    State,
    add_l2,
    add_scaled_,
    blockwise,
    check_not_negative,
    fusible,
)


def sgd(param: Tensor, grad: Tensor, lr: Scalar, weight_decay: Scalar) -> None:
    """One step, in place."""
    grad = add_l2(grad, param, weight_decay)
    add_scaled_(param, -lr, grad)


class SGD(Method):
    """Gradient descent, on whatever batch the gradient comes from.

        g ← g + λ·θ
        θ ← θ − lr·g

    Args:
        params: parameters, or groups of them with their own settings.
        lr: learning rate, >= 0; a float or a 0-dim tensor.
        weight_decay: λ, the L2 penalty's factor, >= 0.
        maximize: climb instead of descend (g is negated first).
        fused: let torch's fused kernel compute the same formula where it can.

    Raises:
        ValueError: a setting is outside its range.
        RuntimeError: a gradient is sparse.

    Reference:
        Robbins and Monro, A Stochastic Approximation Method, 1951,
        https://doi.org/10.1214/aoms/1177729586

    Deviation from torch.optim.SGD: momentum is a method of its own here, without dampening.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
        fused: bool = True,
    ) -> None:
        defaults = {"lr": lr, "weight_decay": weight_decay, "maximize": maximize, "fused": fused}
        super().__init__(params, defaults)

    def check(self, group: Group) -> None:
        check_not_negative(lr=group["lr"], weight_decay=group["weight_decay"])

    def update(self, param: Tensor, grad: Tensor, state: State, group: Group) -> None:
        blockwise(sgd, (param, grad), group["lr"], group["weight_decay"])

    def update_all(
        self, params: list[Tensor], grads: list[Tensor], states: list[State], group: Group
    ) -> None:
        if group["fused"] and not group["weight_decay"]:
            lr = group["lr"]
            torch._foreach_add_(params, grads, alpha=lr if group["maximize"] else -lr)
        elif group["fused"] and fusible(params, grads, states):
            fused_sgd(params, grads, [], group)
        else:
            super().update_all(params, grads, states, group)


def fused_sgd(
    params: list[Tensor],
    grads: list[Tensor],
    buffers: list[Tensor],
    group: Group,
    *,
    nesterov: bool = False,
) -> None:
    """Torch's kernel for gradient descent, with momentum if there are buffers."""
    torch._fused_sgd_(
        params,
        grads,
        buffers,
        weight_decay=group["weight_decay"],
        momentum=group["momentum"] if buffers else 0.0,
        lr=group["lr"],
        dampening=0.0,
        nesterov=nesterov,
        maximize=group["maximize"],
        is_first_step=False,
    )
