"""Formulas that several rules use.

A scalar is a float, or a float64 tensor with one value per trial, shaped (K, 1, ..., 1) so that it
broadcasts against K stacked parameters. Scalars are combined in double and only then cast to the
parameter's dtype, so that K trials at once give the same bits as K separate runs.
"""

import math
from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor

Scalar = float | Tensor


def zeros(param: Tensor) -> Tensor:
    """Zeros like the parameter."""
    return torch.zeros_like(param, memory_format=torch.preserve_format)


def real_zeros(param: Tensor) -> Tensor:
    """Zeros like the parameter's absolute value: real for a complex parameter."""
    return torch.zeros_like(param.real, memory_format=torch.preserve_format)


def copied(param: Tensor) -> Tensor:
    """A copy of the parameter."""
    return param.clone(memory_format=torch.preserve_format)


def cast(scalar: Scalar, param: Tensor) -> Scalar:
    """A tensor of scalars in the parameter's precision; a float as it is."""
    if isinstance(scalar, Tensor):
        return scalar.to(device=param.device, dtype=param.real.dtype, non_blocking=True)
    return scalar


def root(scalar: Scalar) -> Scalar:
    """The square root, rounded alike for a float and for a tensor."""
    return scalar.sqrt() if isinstance(scalar, Tensor) else math.sqrt(scalar)


def power(base: Scalar, exponent: Scalar) -> Scalar:
    """base ** exponent; trial by trial, since torch rounds a vector's powers unlike a float's."""
    if isinstance(base, Tensor) or isinstance(exponent, Tensor):
        return each(lambda b, e: float(b**e), base, exponent)
    return float(base**exponent)


def larger(one: Scalar, other: Scalar) -> Scalar:
    """The larger of two scalars."""
    if isinstance(one, Tensor) or isinstance(other, Tensor):
        return each(max, one, other)
    return max(one, other)


def each(function: Callable[..., float], *scalars: Scalar) -> Scalar:
    """A function of floats, trial by trial where a scalar is a tensor."""
    like = next((scalar for scalar in scalars if isinstance(scalar, Tensor)), None)
    if like is None:
        return function(*scalars)
    columns = [
        torch.as_tensor(scalar, dtype=torch.float64).expand_as(like).flatten().tolist()
        for scalar in scalars
    ]
    values = [function(*row) for row in zip(*columns, strict=True)]
    return torch.tensor(values, dtype=torch.float64).view(like.shape)


def epsilon(eps: Scalar, param: Tensor) -> Scalar:
    """ε in the parameter's precision, where it must not become 0."""
    return cast(not_zero(eps, param), param)


def modulus(grad: Tensor) -> Tensor:
    """|g|, or g itself where it is real: what has the square g·ḡ."""
    return grad.abs() if grad.is_complex() else grad


# Those below compute with a float and with a tensor of scalars by the same roundings: a
# kernel's factor multiplies the first tensor before anything else happens to it.


def add_scaled(target: Tensor, scalar: Scalar, tensor: Tensor) -> Tensor:
    """target + scalar·tensor."""
    scalar = cast(scalar, target)
    if isinstance(scalar, Tensor):
        return target.addcmul(tensor, scalar)
    return target.add(tensor, alpha=scalar)


def add_scaled_(target: Tensor, scalar: Scalar, tensor: Tensor) -> None:
    """target ← target + scalar·tensor."""
    scalar = cast(scalar, target)
    if isinstance(scalar, Tensor):
        target.addcmul_(tensor, scalar)
    else:
        target.add_(tensor, alpha=scalar)


def add_quotient_(target: Tensor, scalar: Scalar, top: Tensor, bottom: Tensor) -> None:
    """target ← target + scalar·top / bottom."""
    if isinstance(scalar, Tensor):
        target.addcdiv_(top * cast(scalar, target), bottom)
    else:
        target.addcdiv_(top, bottom, value=scalar)


def average_square_(avg: Tensor, grad: Tensor, beta: Scalar) -> None:
    """avg ← β·avg + (1−β)·g·ḡ, with 0 read as the smallest normal number.

    An average that has overflowed so stays infinite, which stops its element; 0·inf would make
    it NaN, and so would ``lerp_``, which subtracts infinities.
    """
    size, beta = modulus(grad), not_zero(beta, avg)
    if isinstance(beta, Tensor):
        avg.mul_(cast(beta, avg)).addcmul_(size * cast(1 - beta, avg), size)
    else:
        avg.mul_(beta).addcmul_(size, size, value=1 - beta)


def corrected_root(avg: Tensor, beta: Scalar, step: int, eps: Scalar) -> Tensor:
    """√(avg / (1−βᵗ)) + ε: the root of an average of squares that started at 0."""
    return (avg / cast(1 - power(beta, step), avg)).sqrt_().add_(epsilon(eps, avg))


def not_zero(scalar: Scalar, tensor: Tensor) -> Scalar:
    """At least the smallest normal number of the tensor's precision."""
    least = smallest_normal(tensor.dtype)
    return scalar.clamp(min=least) if isinstance(scalar, Tensor) else max(scalar, least)


@cache
def smallest_normal(dtype: torch.dtype) -> float:
    """The smallest normal number of a floating-point type."""
    return torch.finfo(dtype).tiny
