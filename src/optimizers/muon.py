"""Muon."""

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from src.optimizers.adamw import adamw
from src.optimizers.base import (
    Group,
    Method,
    State,
    blockwise,
    check_betas,
    check_fraction,
    check_not_negative,
    check_numbers,
    check_positive,
    real_zeros,
    smallest_normal,
    zeros,
)

ADJUSTMENTS = ("original", "match_rms_adamw", "spectral_unclamped")


# Beyond bfloat16's range is inf, and inf / inf is NaN; the squares of what is smaller are 0.
LARGEST = torch.finfo(torch.bfloat16).max
SMALLEST = math.sqrt(smallest_normal(torch.bfloat16))


def orthogonalize(matrix: Tensor, coefficients: Sequence[float], steps: int, eps: float) -> Tensor:
    """Newton-Schulz: the matrix with its singular values brought near 1, in bfloat16.

    The iteration of odd polynomials x ← a·x + b·x³ + c·x⁵ acts on the singular values alone.
    """
    a, b, c = coefficients
    tall = matrix.size(0) > matrix.size(1)
    largest = min(LARGEST, torch.finfo(matrix.dtype).max)
    x = matrix.clamp(-largest, largest).bfloat16()
    x = x.T if tall else x
    x.div_(x.norm().clamp(min=max(eps, SMALLEST)))
    for _ in range(steps):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.T if tall else x


def adjusted(lr: float | Tensor, adjustment: str, rows: int, columns: int) -> float | Tensor:
    """The learning rate for a matrix of this shape."""
    if adjustment == "match_rms_adamw":
        return lr * 0.2 * math.sqrt(max(rows, columns))
    ratio = rows / columns
    return lr * math.sqrt(max(1.0, ratio) if adjustment == "original" else ratio)


def muon(param: Tensor, grad: Tensor, buffer: Tensor, group: Group) -> None:
    """One step with one matrix, in place."""
    buffer.lerp_(grad, 1 - group["momentum"])
    update = grad.lerp(buffer, group["momentum"]) if group["nesterov"] else buffer
    matrix = update.flatten(1)
    update = orthogonalize(matrix, group["ns_coefficients"], group["ns_steps"], group["eps"])
    lr = adjusted(group["lr"], group["adjust_lr_fn"], *matrix.shape)
    param.mul_(1 - group["lr"] * group["weight_decay"])
    param.sub_(update.to(param.dtype).mul_(lr).reshape(param.shape))


class Muon(Method):
    """Muon: matrices move along their orthogonalized momentum, other parameters by AdamW.

    A parameter of two dimensions or more is a matrix; further dimensions are flattened into its
    columns, as for the filters of a convolution.

        B ← μ·B + (1−μ)·G
        C = (1−μ)·G + μ·B            with nesterov, else C = B
        X ← C / max(‖C‖, ε), then k times  X ← a·X + (b·A + c·A·A)·X  with A = X·Xᵀ
        θ ← (1 − lr·λ)·θ − lr·s·X

    s depends on adjust_lr_fn and the matrix's shape, rows × columns:
    match_rms_adamw    s = 0.2·√max(rows, columns)
    original           s = √max(1, rows / columns)
    spectral_unclamped s = √(rows / columns)

    Args:
        params: parameters, or groups of them with their own settings.
        lr: learning rate, >= 0, of the matrices and of AdamW; a float or a 0-dim tensor.
        weight_decay: λ, the decay per unit of learning rate, >= 0.
        momentum: μ, in [0, 1).
        nesterov: look ahead by one step of momentum.
        ns_coefficients: a, b and c.
        eps: ε, > 0.
        ns_steps: k, a whole number from 1 to 99.
        adjust_lr_fn: "match_rms_adamw", "original" or "spectral_unclamped".
        adamw_betas: β₁ and β₂ of AdamW, both in [0, 1).
        adamw_eps: ε of AdamW, > 0.
        maximize: climb instead of descend (the gradient is negated first).

    Raises:
        ValueError: a setting is outside its range, or a parameter is complex.
        RuntimeError: a gradient is sparse.

    References:
        Jordan et al., Muon: An optimizer for hidden layers in neural networks, 2024,
        https://kellerjordan.github.io/posts/muon/
        Liu et al., Muon is Scalable for LLM Training, 2025 (match_rms_adamw),
        https://arxiv.org/abs/2502.16982

    Deviations from torch.optim.Muon, which takes two-dimensional parameters only: the others go
    to AdamW inside this class, and so match_rms_adamw is the default, with which one learning
    rate serves both; there is maximize. A network's embeddings and last layer, which the authors
    give to AdamW, count as matrices here. C is clamped to bfloat16's range, and divided by 1e-19
    at the least, below which squares vanish; AdamW's β₂ and ε are read as AdamW reads them.
    """

    elementwise: ClassVar[bool] = False
    allows_complex: ClassVar[bool] = False

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_coefficients: tuple[float, float, float] = (3.4445, -4.775, 2.0315),
        eps: float = 1e-7,
        ns_steps: int = 5,
        adjust_lr_fn: str = "match_rms_adamw",
        adamw_betas: tuple[float, float] = (0.9, 0.95),
        adamw_eps: float = 1e-8,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "weight_decay": weight_decay,
            "momentum": momentum,
            "nesterov": nesterov,
            "ns_coefficients": ns_coefficients,
            "eps": eps,
            "ns_steps": ns_steps,
            "adjust_lr_fn": adjust_lr_fn,
            "adamw_betas": adamw_betas,
            "adamw_eps": adamw_eps,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def check(self, group: Group) -> None:
        check_not_negative(lr=group["lr"], weight_decay=group["weight_decay"])
        check_fraction(momentum=group["momentum"])
        check_positive(eps=group["eps"], adamw_eps=group["adamw_eps"])
        check_betas(adamw_betas=group["adamw_betas"])
        check_iteration(group["ns_steps"], group["ns_coefficients"])
        if group["adjust_lr_fn"] not in ADJUSTMENTS:
            allowed = ", ".join(ADJUSTMENTS)
            raise ValueError(
                f"adjust_lr_fn must be one of {allowed}, got {group['adjust_lr_fn']!r}"
            )

    def initial_state(self, param: Tensor, group: Group) -> State:
        if param.ndim >= 2:
            return {"momentum_buffer": zeros(param)}
        return {"step": 0, "exp_avg": zeros(param), "exp_avg_sq": real_zeros(param)}

    def update(self, param: Tensor, grad: Tensor, state: State, group: Group) -> None:
        if param.ndim < 2:
            self._update_rest(param, grad, state, group)
        elif param.numel():
            muon(param, grad, state["momentum_buffer"], group)

    def _update_rest(self, param: Tensor, grad: Tensor, state: State, group: Group) -> None:
        state["step"] += 1
        blockwise(
            adamw,
            (param, grad, state["exp_avg"], state["exp_avg_sq"]),
            state["step"],
            group["lr"],
            *group["adamw_betas"],
            group["adamw_eps"],
            group["weight_decay"],
        )


def check_iteration(steps: object, coefficients: object) -> None:
    """Raise ValueError unless these are a number of steps and three coefficients."""
    if not isinstance(steps, int) or isinstance(steps, bool) or not 1 <= steps <= 99:
        raise ValueError(f"ns_steps must be a whole number from 1 to 99, got {steps!r}")
    if isinstance(coefficients, str) or not isinstance(coefficients, Sequence):
        raise ValueError(f"ns_coefficients must be three numbers, got {coefficients!r}")
    if len(coefficients) != 3:
        raise ValueError(f"ns_coefficients must be three numbers, got {coefficients!r}")
    named = {f"ns_coefficients[{index}]": value for index, value in enumerate(coefficients)}
    check_numbers("a finite number", lambda value: True, named)
