"""The directions that rules return, and operations that several methods apply to them."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from src.optimizers.formulas import (
    Scalar,
    add_quotient_,
    add_scaled,
    add_scaled_,
    cast,
    smallest_normal,
)


class Quotient(NamedTuple):
    """The direction factor/divisor · top/bottom, which a step takes in one pass over the memory."""

    top: Tensor
    bottom: Tensor
    divisor: Scalar = 1.0
    factor: Scalar = 1.0


Direction = Tensor | Quotient | list[Quotient]  # of several, each is taken after the other


def descend(param: Tensor, direction: Direction, lr: Scalar) -> None:
    """θ ← θ − lr·direction.

    Raises:
        TypeError: it is no direction.
    """
    if isinstance(direction, Tensor):
        add_scaled_(param, -lr, direction)
        return
    for part in direction if isinstance(direction, list) else [direction]:
        if not isinstance(part, Quotient):
            kind = type(direction).__name__
            raise TypeError(f"a rule returns a tensor, a Quotient or a list of these, got {kind}")
        add_quotient_(param, -lr * part.factor / part.divisor, part.top, part.bottom)


def tensor(direction: Direction) -> Tensor:
    """The direction as a tensor."""
    if isinstance(direction, Tensor):
        return direction
    first, *others = direction if isinstance(direction, list) else [direction]
    total = (first.top / first.bottom).mul_(cast(first.factor / first.divisor, first.top))
    descend(total, others, -1.0)
    return total


def coupled(param: Tensor, grad: Tensor, lr: Scalar, weight_decay: Scalar) -> Tensor:
    """The gradient of the loss with (λ/2)·|θ|² added: g + λ·θ."""
    return add_scaled(grad, weight_decay, param)


def decoupled(param: Tensor, grad: Tensor, lr: Scalar, weight_decay: Scalar) -> Tensor:
    """θ ← (1 − lr·λ)·θ; the gradient stays as it is."""
    param.mul_(cast(1 - lr * weight_decay, param))
    return grad


def cautious(direction: Direction, grad: Tensor) -> Tensor:
    """The direction where it agrees with the gradient in sign, and more of it there.

    With k = [u·g > 0], u·k / max(mean k, 10⁻³): what the other elements lose the others get.

    Reference: Liang et al., Cautious Optimizers: Improving Training with One Line of Code, 2024,
    https://arxiv.org/abs/2411.16085
    """
    update = tensor(direction)
    agrees = (update * grad).gt_(0)
    share = agrees.mean().clamp_(min=1e-3)
    return agrees.mul_(update).mul_(1 / share)


def trust_ratio(direction: Direction, param: Tensor) -> Tensor:
    """The direction with the parameter's norm: u·‖θ‖ / ‖u‖, or u where one of them is 0.

    Reference: You, Gitman and Ginsburg, Large Batch Training of Convolutional Networks, 2017,
    https://arxiv.org/abs/1708.03888
    """
    update = tensor(direction)
    size, length = _plain_norm(param), _plain_norm(update)
    least = smallest_normal(update.dtype) ** 0.4  # what vanishes when squared is nothing to it
    if least < size < math.inf and least < length < math.inf:
        return update * (size / length)
    return _extreme_ratio(update, param)


def _plain_norm(tensor: Tensor) -> float:
    """The norm, unless a square overflows or vanishes; waits for the device."""
    wide = torch.float32 if tensor.element_size() < 4 else None
    return float(torch.linalg.vector_norm(tensor, dtype=wide))


def _extreme_ratio(update: Tensor, param: Tensor) -> Tensor:
    """The same, in an order in which nothing overflows before its end."""
    (largest, size), (longest, length) = _norm(param), _norm(update)
    alive = (largest > 0) & (longest > 0)
    unit, ratio, scale = (
        torch.where(alive, scalar, 1.0).to(update.real.dtype)
        for scalar in (longest, size / length, largest)
    )
    return (update / unit).mul_(ratio).mul_(scale)


def _norm(tensor: Tensor) -> tuple[Tensor, Tensor]:
    """The largest element and the norm in units of it: no square overflows."""
    if not tensor.numel():
        return (zero := tensor.real.new_zeros((), dtype=torch.float64)), zero
    sizes = tensor.abs() if tensor.is_complex() else tensor
    largest = torch.linalg.vector_norm(sizes, math.inf)
    units = sizes / torch.where(largest > 0, largest, 1.0)
    exact = units.dtype if units.element_size() >= 4 else torch.float32
    return largest.double(), torch.linalg.vector_norm(units, dtype=exact).double()
