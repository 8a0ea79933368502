"""Schedule-Free AdamW."""

import torch
from torch import Tensor

from src.optimizers.directions import Direction, Quotient, descend
from src.optimizers.formulas import (
    Scalar,
    add_scaled_,
    average_square_,
    corrected_root,
    epsilon,
    not_zero,
    power,
    real_zeros,
)
from src.optimizers.kernels import Group, State
from src.optimizers.method import Rule
from src.optimizers.schedule_free import ScheduleFree, look_ahead, weigh_alike
from src.optimizers.settings import fractions, not_negative, positive, table


def schedule_free_adamw(
    param: Tensor,
    grad: Tensor,
    exp_avg_sq: Tensor,
    x: Tensor,
    z: Tensor,
    share: Scalar,
    k: int,
    lr: Scalar,
    betas: tuple[Scalar, Scalar],
    eps: Scalar,
    weight_decay: Scalar,
) -> Direction:
    """z moves by Adam's step without momentum, and the parameter to where x and z lead."""
    beta1, beta2 = betas
    average_square_(exp_avg_sq, grad, beta2)
    denom = corrected_root(exp_avg_sq, beta2, k, eps)
    if isinstance(weight_decay, Tensor) or weight_decay:
        add_scaled_(z, -lr * weight_decay, param)
    descend(z, Quotient(grad, denom), lr)
    return look_ahead(param, x, z, share, beta1)


def foreach(params: list[Tensor], grads: list[Tensor], states: list[State], group: Group) -> bool:
    """The same for small parameters that have taken the same steps, with a call for all of them."""
    if not weigh_alike(params, states, group):
        return False
    lr, (beta1, beta2) = group["lr"], group["betas"]
    squares, x, z = ([state[name] for state in states] for name in ("exp_avg_sq", "x", "z"))
    kept = float(not_zero(beta2, params[0]))
    torch._foreach_mul_(squares, kept)
    torch._foreach_addcmul_(squares, grads, grads, value=1 - kept)
    denoms = torch._foreach_div(squares, 1 - power(beta2, states[0]["k"]))
    torch._foreach_sqrt_(denoms)
    torch._foreach_add_(denoms, epsilon(group["eps"], params[0]))
    if group["weight_decay"]:
        torch._foreach_add_(z, params, alpha=-lr * group["weight_decay"])
    torch._foreach_addcdiv_(z, grads, denoms, value=lr if group["maximize"] else -lr)
    torch._foreach_lerp_(x, z, states[0]["share"])
    for param, at_x, at_z in zip(params, x, z, strict=True):
        torch.lerp(at_x, at_z, 1 - beta1, out=param)
    return True


class ScheduleFreeAdamW(ScheduleFree):
    """Schedule-Free AdamW: averages AdamW's points in place of lowering the learning rate.

    The parameters hold y while it trains, and x while it is judged; both begin where z does.

        g at θ = y
        v ← β₂·v + (1−β₂)·g·ḡ,  v̂ = v / (1−β₂ᵗ)            (t counts from 1)
        z ← z − lr·λ·y − lr·g / (√v̂ + ε)
        w = tʳ·(the largest lr so far)ᵖ,  c = w / (the sum of all w so far)
        x ← (1−c)·x + c·z
        θ ← (1−β₁)·z + β₁·x

    Args:
        params: parameters, or groups of them with their own settings.
        lr: learning rate, >= 0; a float or a 0-dim tensor.
        betas: β₁, the share of x in y, and β₂, both in [0, 1).
        eps: ε, > 0.
        weight_decay: λ, the decay per unit of learning rate, >= 0.
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
    `train()` and `eval()` lose no bits and β₁ may be 0, at the price of a tensor; t, w and c
    count each parameter's own steps. torch.optim has no such class.
    """

    settings = table(
        lr=not_negative(2.5e-3),
        betas=fractions(0.9, 0.999),
        eps=positive(1e-8),
        weight_decay=not_negative(0.0),
        r=not_negative(0.0),
        weight_lr_power=not_negative(2.0),
    )
    rule = Rule(
        schedule_free_adamw, {"exp_avg_sq": real_zeros, **ScheduleFree.averages}, decay=None
    )
    kernel = foreach

    def beta(self, group: Group) -> Scalar:
        beta1: Scalar = group["betas"][0]
        return beta1
