"""AdamW."""

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from src.optimizers.adam import adam, fused_adam
from src.optimizers.base import (
    Group,
    Method,
    Scalar,
    State,
    blockwise,
    cast,
    check_betas,
    check_not_negative,
    check_positive,
    fusible,
    real_zeros,
    zeros,
)


def adamw(
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
    param.mul_(cast(1 - lr * weight_decay, param))
    adam(param, grad, exp_avg, exp_avg_sq, step, lr, beta1, beta2, eps, 0.0)


class AdamW(Method):
    """AdamW: Adam with weight decay beside the gradient, not in it.

        θ ← (1 − lr·λ)·θ
        m ← β₁·m + (1−β₁)·g
        v ← β₂·v + (1−β₂)·g·ḡ
        m̂ = m / (1−β₁ᵗ),  v̂ = v / (1−β₂ᵗ)            (t counts from 1)
        θ ← θ − lr·m̂ / (√v̂ + ε)

    Args:
        params: parameters, or groups of them with their own settings.
        lr: learning rate, >= 0; a float or a 0-dim tensor.
        betas: β₁ and β₂, both in [0, 1).
        eps: ε, > 0.
        weight_decay: λ, the decay per unit of learning rate, >= 0.
        maximize: climb instead of descend (g is negated first).
        fused: let torch's fused kernel compute the same formula where it can.

    Raises:
        ValueError: a setting is outside its range.
        RuntimeError: a gradient is sparse.

    Reference:
        Loshchilov and Hutter, Decoupled Weight Decay Regularization, 2019,
        https://arxiv.org/abs/1711.05101

    Deviation from the paper, as in torch.optim.AdamW: the decay is multiplied by lr, where the
    paper multiplies it by the schedule alone. Deviations from torch: ε is not 0; a complex
    element has one v, the average of |g|².
    A β₂ of 0, and an ε too small for the parameter's precision, are read as its smallest normal
    number.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        *,
        maximize: bool = False,
        fused: bool = True,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "maximize": maximize,
            "fused": fused,
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
            adamw,
            (param, grad, state["exp_avg"], state["exp_avg_sq"]),
            state["step"],
            group["lr"],
            *group["betas"],
            group["eps"],
            group["weight_decay"],
        )

    def update_all(
        self, params: list[Tensor], grads: list[Tensor], states: list[State], group: Group
    ) -> None:
        if group["fused"] and fusible(params, grads, states):
            fused_adam(torch._fused_adamw_, params, grads, states, group)
        else:
            super().update_all(params, grads, states, group)
