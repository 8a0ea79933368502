"""RMSProp, plain and centred."""

import math
from functools import cache

import torch
from torch import Tensor

from src.optimizers.directions import Direction, Quotient
from src.optimizers.formulas import (
    Scalar,
    average_square_,
    cast,
    epsilon,
    modulus,
    real_zeros,
    zeros,
)
from src.optimizers.kernels import Group, State
from src.optimizers.method import Method, Rule
from src.optimizers.settings import flag, fraction, not_negative, positive, table


def rmsprop(
    grad: Tensor,
    square_avg: Tensor,
    grad_avg: Tensor | None,
    momentum_buffer: Tensor | None,
    alpha: Scalar,
    eps: Scalar,
    momentum: Scalar,
    centered: bool,
) -> Direction:
    """b, which is d itself as long as there has been no momentum."""
    average_square_(square_avg, grad, alpha)
    if centered and grad_avg is not None:
        grad_avg.lerp_(grad, cast(1 - alpha, grad))
        denom = spread(square_avg, modulus(grad_avg))
    else:
        denom = square_avg.sqrt()
    denom.add_(epsilon(eps, grad))
    if momentum_buffer is None:
        return Quotient(grad, denom)
    return momentum_buffer.mul_(cast(momentum, grad)).addcdiv_(grad, denom)


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
    """

    settings = table(
        lr=not_negative(1e-2),
        alpha=fraction(0.99),
        eps=positive(1e-8),
        weight_decay=not_negative(0.0),
        momentum=fraction(0.0),
        centered=flag(False),
    )
    rule = Rule(rmsprop, {"square_avg": real_zeros, "grad_avg": zeros, "momentum_buffer": zeros})

    def initial_state(self, param: Tensor, group: Group) -> State:
        return {"square_avg": real_zeros(param)}

    def update(self, param: Tensor, grad: Tensor, state: State, group: Group) -> None:
        """Take one step; the mean and the buffer begin to exist when they are first needed."""
        momentum = group["momentum"]
        if group["centered"] and "grad_avg" not in state:
            state["grad_avg"] = zeros(param)
        if "momentum_buffer" not in state and (isinstance(momentum, Tensor) or momentum):
            state["momentum_buffer"] = zeros(param)
        super().update(param, grad, state, group)
