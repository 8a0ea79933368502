"""Schedule-Free SGD."""

import torch
from torch import Tensor

from src.optimizers.directions import Direction, descend
from src.optimizers.formulas import Scalar
from src.optimizers.kernels import Group, State
from src.optimizers.method import Rule
from src.optimizers.schedule_free import ScheduleFree, look_ahead, weigh_alike
from src.optimizers.settings import fraction, not_negative, table


def schedule_free_sgd(
    param: Tensor,
    grad: Tensor,
    x: Tensor,
    z: Tensor,
    share: Scalar,
    lr: Scalar,
    momentum: Scalar,
) -> Direction:
    """z moves along the gradient, and the parameter to where x and z lead."""
    descend(z, grad, lr)
    return look_ahead(param, x, z, share, momentum)


def foreach(params: list[Tensor], grads: list[Tensor], states: list[State], group: Group) -> bool:
    """The same for small parameters that have taken the same steps, with a call for all of them."""
    if not weigh_alike(params, states, group):
        return False
    sign = -1.0 if group["maximize"] else 1.0
    x, z = [state["x"] for state in states], [state["z"] for state in states]
    torch._foreach_add_(z, grads, alpha=-sign * group["lr"])
    if group["weight_decay"]:
        torch._foreach_add_(z, params, alpha=-group["lr"] * group["weight_decay"])
    torch._foreach_lerp_(x, z, states[0]["share"])
    for param, at_x, at_z in zip(params, x, z, strict=True):
        torch.lerp(at_x, at_z, 1 - group["momentum"], out=param)
    return True


class ScheduleFreeSGD(ScheduleFree):
    """Schedule-Free SGD: averages gradient descent's points in place of lowering the rate.

    The parameters hold y while it trains, and x while it is judged; both begin where z does.

        g at θ = y
        g ← g + λ·y
        z ← z − lr·g
        w = tʳ·(the largest lr so far)ᵖ,  c = w / (the sum of all w so far)            (t from 1)
        x ← (1−c)·x + c·z
        θ ← (1−β)·z + β·x

    Args:
        params: parameters, or groups of them with their own settings.
        lr: learning rate, >= 0, 10 to 50 times gradient descent's; a float or a 0-dim tensor.
        momentum: β, the share of x in y, in [0, 1).
        weight_decay: λ, the L2 penalty's factor, >= 0.
        r: the power of t in the weights, >= 0; 0 weighs all points alike.
        weight_lr_power: p, >= 0; it keeps the points of a warm-up small in the average.
        maximize: climb instead of descend (g is negated first).
        fused: let torch compute the same formula for small parameters together.

    Raises:
        ValueError: a setting is outside its range.
        RuntimeError: a gradient is sparse, or `step` comes between `eval()` and `train()`.

    Reference:
        Defazio et al., The Road Less Scheduled, 2024, https://arxiv.org/abs/2405.15682

    It goes with the constant schedule, with or without a warm-up; the warm-up of the authors'
    package is the schedule's here. Deviations from the package: x is kept beside z, so that
    `train()` and `eval()` lose no bits and β may be 0, at the price of a tensor; t, w and c
    count each parameter's own steps. torch.optim has no such class.
    """

    settings = table(
        lr=not_negative(1.0),
        momentum=fraction(0.9),
        weight_decay=not_negative(0.0),
        r=not_negative(0.0),
        weight_lr_power=not_negative(2.0),
    )
    rule = Rule(schedule_free_sgd, ScheduleFree.averages)
    kernel = foreach

    def beta(self, group: Group) -> Scalar:
        momentum: Scalar = group["momentum"]
        return momentum
