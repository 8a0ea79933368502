"""Lion."""

from typing import ClassVar

from torch import Tensor
from torch.optim.optimizer import ParamsT

from src.optimizers.base import (
    Group,
    Method,
    Scalar,
    State,
    add_scaled_,
    blockwise,
    cast,
    check_betas,
    check_not_negative,
    zeros,
)


def lion(
    param: Tensor,
    grad: Tensor,
    exp_avg: Tensor,
    lr: Scalar,
    beta1: Scalar,
    beta2: Scalar,
    weight_decay: Scalar,
) -> None:
    """One step, in place."""
    update = exp_avg.lerp(grad, cast(1 - beta1, param)).sign_()
    param.mul_(cast(1 - lr * weight_decay, param))
    add_scaled_(param, -lr, update)
    exp_avg.lerp_(grad, cast(1 - beta2, param))


class Lion(Method):
    """Lion: every element moves by lr, in the direction of the sign of an average gradient.

        c = β₁·m + (1−β₁)·g
        θ ← (1 − lr·λ)·θ − lr·sign(c)
        m ← β₂·m + (1−β₂)·g

    Args:
        params: parameters, or groups of them with their own settings.
        lr: learning rate, >= 0; a float or a 0-dim tensor.
        betas: β₁ and β₂, both in [0, 1).
        weight_decay: λ, the decay per unit of learning rate, >= 0.
        maximize: climb instead of descend (g is negated first).

    Raises:
        ValueError: a setting is outside its range, or a parameter is complex.
        RuntimeError: a gradient is sparse.

    Reference:
        Chen et al., Symbolic Discovery of Optimization Algorithms, 2023,
        https://arxiv.org/abs/2302.06675

    Complex parameters are refused: the paper defines no sign for them. torch.optim has no Lion.
    """

    allows_complex: ClassVar[bool] = False

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "weight_decay": weight_decay,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def check(self, group: Group) -> None:
        check_not_negative(lr=group["lr"], weight_decay=group["weight_decay"])
        check_betas(betas=group["betas"])

    def initial_state(self, param: Tensor, group: Group) -> State:
        return {"exp_avg": zeros(param)}

    def update(self, param: Tensor, grad: Tensor, state: State, group: Group) -> None:
        blockwise(
            lion,
            (param, grad, state["exp_avg"]),
            group["lr"],
            *group["betas"],
            group["weight_decay"],
        )
