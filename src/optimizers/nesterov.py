"""Nesterov's accelerated gradient."""

from torch import Tensor
from torch.optim.optimizer import ParamsT

from src.optimizers.base import (
    Group,
    Method,
    Scalar,
    State,
    add_l2,
    add_scaled,
    add_scaled_,
    blockwise,
    cast,
    check_fraction,
    check_not_negative,
    fusible,
    zeros,
)
from src.optimizers.sgd import fused_sgd


def nesterov(
    param: Tensor, grad: Tensor, buffer: Tensor, lr: Scalar, mu: Scalar, weight_decay: Scalar
) -> None:
    """One step, in place."""
    grad = add_l2(grad, param, weight_decay)
    buffer.mul_(cast(mu, param)).add_(grad)
    ahead = add_scaled(grad, mu, buffer)
    add_scaled_(param, -lr, ahead)


class Nesterov(Method):
    """Nesterov's accelerated gradient, written at the point looked ahead to.

        g ← g + λ·θ
        v ← μ·v + g            (v starts at 0, so the first step has v = g)
        θ ← θ − lr·(g + μ·v)

    Args:
        params: parameters, or groups of them with their own settings.
        lr: learning rate, >= 0; a float or a 0-dim tensor.
        momentum: μ, in [0, 1).
        weight_decay: λ, the L2 penalty's factor, >= 0.
        maximize: climb instead of descend (g is negated first).
        fused: let torch's fused kernel compute the same formula where it can.

    Raises:
        ValueError: a setting is outside its range.
        RuntimeError: a gradient is sparse.

    Reference:
        Sutskever et al., On the importance of initialization and momentum in deep learning, 2013,
        https://proceedings.mlr.press/v28/sutskever13.html

    Deviation from the paper: it takes the gradient at θ + μ·v; here θ itself is that point, so
    that the gradient is taken where the parameters are. Deviation from torch.optim.SGD: no
    dampening, and μ in [0, 1), where 0 gives gradient descent.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
        fused: bool = True,
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "weight_decay": weight_decay,
            "maximize": maximize,
            "fused": fused,
        }
        super().__init__(params, defaults)

    def check(self, group: Group) -> None:
        check_not_negative(lr=group["lr"], weight_decay=group["weight_decay"])
        check_fraction(momentum=group["momentum"])

    def initial_state(self, param: Tensor, group: Group) -> State:
        return {"momentum_buffer": zeros(param)}

    def update(self, param: Tensor, grad: Tensor, state: State, group: Group) -> None:
        blockwise(
            nesterov,
            (param, grad, state["momentum_buffer"]),
            group["lr"],
            group["momentum"],
            group["weight_decay"],
        )

    def update_all(
        self, params: list[Tensor], grads: list[Tensor], states: list[State], group: Group
    ) -> None:
        if group["fused"] and group["momentum"] and fusible(params, grads, states):
            buffers = [state["momentum_buffer"] for state in states]
            fused_sgd(params, grads, buffers, group, nesterov=True)
        else:
            super().update_all(params, grads, states, group)
