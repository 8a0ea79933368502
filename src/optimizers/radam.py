"""RAdam."""

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
    average_square_,
    blockwise,
    cast,
    check_betas,
    check_not_negative,
    check_positive,
    epsilon,
    power,
    real_zeros,
    root,
    zeros,
)


def sample_length(step: int, beta2: Scalar) -> Scalar:
    """ρ: how many gradients the average of squares amounts to."""
    decayed = power(beta2, step)
    return 2 / (1 - beta2) - 1 - 2 * step * decayed / (1 - decayed)


def rectification(length: Scalar, beta2: Scalar) -> Scalar:
    """r: how much less the adaptive step varies once the average is long."""
    limit = 2 / (1 - beta2) - 1
    return root((length - 4) * (length - 2) * limit / ((limit - 4) * (limit - 2) * length))


def radam(
    param: Tensor,
    grad: Tensor,
    exp_avg: Tensor,
    exp_avg_sq: Tensor,
    step: int,
    lr: Scalar,
    beta1: Scalar,
    beta2: Scalar,
    eps: Scalar,
    weight_decay: Scalar,
) -> None:
    """Step number ``step``, counted from 1, in place."""
    grad = add_l2(grad, param, weight_decay)
    exp_avg.lerp_(grad, cast(1 - beta1, param))
    average_square_(exp_avg_sq, grad, beta2)
    step_size = lr / (1 - power(beta1, step))
    length = sample_length(step, beta2)
    denom = param.real.new_ones(())
    if isinstance(length, Tensor) or length > 5:
        gain = rectification(length, beta2) * root(1 - power(beta2, step))
        denom = exp_avg_sq.sqrt().add_(epsilon(eps, param)).div_(cast(gain, param))
    if isinstance(length, Tensor):
        denom = torch.where((length > 5).to(param.device), denom, 1.0)
    add_quotient_(param, -step_size, exp_avg, denom)


class RAdam(Method):
    """RAdam: Adam once enough gradients have been seen to trust v, until then momentum.

        g ← g + λ·θ
        m ← β₁·m + (1−β₁)·g
        v ← β₂·v + (1−β₂)·g·ḡ
        m̂ = m / (1−β₁ᵗ)            (t counts from 1)
        ρ∞ = 2/(1−β₂) − 1,  ρ = ρ∞ − 2·t·β₂ᵗ / (1−β₂ᵗ)
        if ρ > 5:  r = √((ρ−4)·(ρ−2)·ρ∞ / ((ρ∞−4)·(ρ∞−2)·ρ))
                   θ ← θ − lr·m̂·r·√(1−β₂ᵗ) / (√v + ε)
        else:      θ ← θ − lr·m̂

    Args:
        params: parameters, or groups of them with their own settings.
        lr: learning rate, >= 0; a float or a 0-dim tensor.
        betas: β₁ and β₂, both in [0, 1).
        eps: ε, > 0.
        weight_decay: λ, the L2 penalty's factor, >= 0.
        maximize: climb instead of descend (g is negated first).

    Raises:
        ValueError: a setting is outside its range.
        RuntimeError: a gradient is sparse.

    Reference:
        Liu et al., On the Variance of the Adaptive Learning Rate and Beyond, 2020,
        https://arxiv.org/abs/1908.03265

    Deviation from the paper: it starts at ρ > 4 and has no ε; 5 and ε are those of its authors'
    code and of torch. Deviations from torch.optim.RAdam: no decoupled weight decay; ε is not 0; a
    complex element has one v, the average of |g|².
    A β₂ of 0, and an ε too small for the parameter's precision, are read as its smallest normal
    number.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def check(self, group: Group) -> None:
        check_not_negative(lr=group["lr"], weight_decay=group["weight_decay"])
        check_betas(betas=group["betas"])
        check_positive(eps=group["eps"])

    def initial_state(self, param: Tensor, group: Group) -> State:
        return {"step": 0, "exp_avg": zeros(param), "exp_avg_sq": real_zeros(param)}

    def update(self, param: Tensor, grad: Tensor, state: State, group: Group) -> None:
        state["step"] += 1
        blockwise(
            radam,
            (param, grad, state["exp_avg"], state["exp_avg_sq"]),
            state["step"],
            group["lr"],
            *group["betas"],
            group["eps"],
            group["weight_decay"],
        )
