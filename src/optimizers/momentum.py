"""Gradient descent with momentum."""

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
    cast,
    check_fraction,
    check_not_negative,
    fusible,
    zeros,
)
from src.optimizers.sgd import fused_sgd


def momentum(
    param: Tensor, grad: Tensor, buffer: Tensor, lr: Scalar, mu: Scalar, weight_decay: Scalar
) -> None:
    """One step, in place."""
    grad = add_l2(grad, param, weight_decay)
    buffer.mul_(cast(mu, param)).add_(grad)
    add_scaled_(param, -lr, buffer)


class Momentum(Method):
    """Gradient descent with momentum: the heavy ball.

        g ← g + λ·θ
        v ← μ·v + g            (v starts at 0, so the first step has v = g)
        θ ← θ − lr·v

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
        Polyak, Some methods of speeding up the convergence of iteration methods, 1964,
        https://doi.org/10.1016/0041-5553(64)90137-5

    Deviation from the paper: its learning rate stands inside the average (v ← μ·v + lr·g), which
    is the same while lr is constant. Deviation from torch.optim.SGD: no dampening, and μ < 1.
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
            momentum,
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
            fused_sgd(params, grads, buffers, group)
        else:
            super().update_all(params, grads, states, group)
