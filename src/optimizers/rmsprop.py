"""RMSProp, plain and centred."""

import math
from functools import cache

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
    add_scaled_,
    average_square_,
    blockwise,
    cast,
    check_fraction,
    check_not_negative,
    check_positive,
    epsilon,
    modulus,
    real_zeros,
    zeros,
)


def rmsprop(
    param: Tensor,
    grad: Tensor,
    square_avg: Tensor,
    grad_avg: Tensor | None,
    buffer: Tensor | None,
    lr: Scalar,
    alpha: Scalar,
    eps: Scalar,
    mu: Scalar,
    weight_decay: Scalar,
) -> None:
    """One step, in place; centred if there is a ``grad_avg``, with momentum if a ``buffer``."""
    grad = add_l2(grad, param, weight_decay)
    average_square_(square_avg, grad, alpha)
    if grad_avg is None:
        denom = square_avg.sqrt()
    else:
        grad_avg.lerp_(grad, cast(1 - alpha, param))
        denom = spread(square_avg, modulus(grad_avg))
    denom.add_(epsilon(eps, param))
    if buffer is None:
        add_quotient_(param, -lr, grad, denom)
    else:
        buffer.mul_(cast(mu, param)).addcdiv_(grad, denom)
        add_scaled_(param, -lr, buffer)


def spread(square_avg: Tensor, mean: Tensor) -> Tensor:
    """The standard deviation: 0 where rounding makes a negative variance, inf on overflow."""
    bound = square_root_of_largest(mean.dtype)
    mean.clamp_(-bound, bound)  # in place; its square stays finite, since inf - inf is NaN
    return square_avg.addcmul(mean, mean, value=-1).relu_().sqrt_()


@cache
def square_root_of_largest(dtype: torch.dtype) -> float:
    """A number whose square does not overflow."""
    info = torch.finfo(dtype)
    return math.sqrt(info.max) * (1 - info.eps)


class RMSProp(Method):
    """RMSProp: each element's step is divided by the running root mean square of its gradient.

        g ← g + λ·θ
        v ← α·v + (1−α)·g·ḡ
        plain:     d ← g / (√v + ε)
        centred:   a ← α·a + (1−α)·g
                   d ← g / (√max(v − a·ā, 0) + ε)
        b ← μ·b + d                          (with μ = 0, b is d and not kept)
        θ ← θ − lr·b

    Args:
        params: parameters, or groups of them with their own settings.
        lr: learning rate, >= 0; a float or a 0-dim tensor.
        alpha: α, in [0, 1).
        eps: ε, > 0.
        weight_decay: λ, the L2 penalty's factor, >= 0.
        momentum: μ, in [0, 1).
        centered: divide by the standard deviation instead.
        maximize: climb instead of descend (g is negated first).

    Raises:
        ValueError: a setting is outside its range.
        RuntimeError: a gradient is sparse.

    References:
        Hinton, Lecture 6e of Neural Networks for Machine Learning, 2012,
        https://www.cs.toronto.edu/~tijmen/csc321/slides/lecture_slides_lec6.pdf
        Graves, Generating Sequences With Recurrent Neural Networks, 2013 (centred),
        https://arxiv.org/abs/1308.0850

    Deviations: Hinton has neither ε nor momentum, and Graves has ε inside the root. From
    torch.optim.RMSprop: ε is not 0, α and μ are below 1, the variance is kept from falling below
    0, where rounding takes it when gradients are nearly constant and torch gives NaN; a complex
    element has one v, the average of |g|²; a is kept small enough for its square to be finite.
    An α of 0, and an ε too small for the parameter's precision, are read as its smallest normal
    number.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "alpha": alpha,
            "eps": eps,
            "weight_decay": weight_decay,
            "momentum": momentum,
            "centered": centered,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def check(self, group: Group) -> None:
        check_not_negative(lr=group["lr"], weight_decay=group["weight_decay"])
        check_fraction(alpha=group["alpha"], momentum=group["momentum"])
        check_positive(eps=group["eps"])

    def initial_state(self, param: Tensor, group: Group) -> State:
        return {"square_avg": real_zeros(param)}

    def update(self, param: Tensor, grad: Tensor, state: State, group: Group) -> None:
        mu = group["momentum"]
        if group["centered"] and "grad_avg" not in state:
            state["grad_avg"] = zeros(param)
        if "momentum_buffer" not in state and (isinstance(mu, Tensor) or mu):
            state["momentum_buffer"] = zeros(param)
        mean = state["grad_avg"] if group["centered"] else None
        averages = state["square_avg"], mean, state.get("momentum_buffer")
        blockwise(
            rmsprop,
            (param, grad, *averages),
            group["lr"],
            group["alpha"],
            group["eps"],
            mu,
            group["weight_decay"],
        )
