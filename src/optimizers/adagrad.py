"""AdaGrad."""

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
    blockwise,
    check_not_negative,
    check_positive,
    epsilon,
    fusible,
    modulus,
    next_steps,
    not_zero,
    real_zeros,
)


def adagrad(
    param: Tensor,
    grad: Tensor,
    total: Tensor,
    step: int,
    lr: Scalar,
    lr_decay: Scalar,
    eps: Scalar,
    weight_decay: Scalar,
) -> None:
    """Step number ``step``, counted from 1, in place."""
    grad = add_l2(grad, param, weight_decay)
    size = modulus(grad)
    total.addcmul_(size, size)
    step_size = lr / (1 + (step - 1) * lr_decay)
    add_quotient_(param, -step_size, grad, total.sqrt().add_(epsilon(eps, param)))


class AdaGrad(Method):
    """AdaGrad: each element's step is divided by the root of the sum of its squared gradients.

        g ← g + λ·θ
        s ← s + g·ḡ                          (s starts at initial_accumulator_value)
        θ ← θ − lr / (1 + (t−1)·lr_decay) · g / (√s + ε)        (t counts from 1)

    Args:
        params: parameters, or groups of them with their own settings.
        lr: learning rate, >= 0; a float or a 0-dim tensor.
        lr_decay: how fast the learning rate falls, >= 0.
        eps: ε, > 0.
        weight_decay: λ, the L2 penalty's factor, >= 0.
        initial_accumulator_value: what s starts at, >= 0.
        maximize: climb instead of descend (g is negated first).
        fused: let torch's fused kernel compute the same formula where it can.

    Raises:
        ValueError: a setting is outside its range.
        RuntimeError: a gradient is sparse.

    Reference:
        Duchi, Hazan and Singer, Adaptive Subgradient Methods for Online Learning and Stochastic
        Optimization, 2011, https://jmlr.org/papers/v12/duchi11a.html

    Deviation from the paper: this is its diagonal form without the projection; it puts its small
    constant δ where ε stands here, and knows no lr_decay. Deviations from torch.optim.Adagrad:
    ε is not 0; no sparse gradients; s begins to exist with the first step; a complex element has
    one s, the sum of |g|².
    An ε too small for the parameter's precision is read as its smallest normal number.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-2,
        lr_decay: float = 0.0,
        eps: float = 1e-10,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        *,
        maximize: bool = False,
        fused: bool = True,
    ) -> None:
        defaults = {
            "lr": lr,
            "lr_decay": lr_decay,
            "eps": eps,
            "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value,
            "maximize": maximize,
            "fused": fused,
        }
        super().__init__(params, defaults)

    def check(self, group: Group) -> None:
        names = ("lr", "lr_decay", "weight_decay", "initial_accumulator_value")
        check_not_negative(**{name: group[name] for name in names})
        check_positive(eps=group["eps"])

    def initial_state(self, param: Tensor, group: Group) -> State:
        return {"step": 0, "sum": real_zeros(param).add_(group["initial_accumulator_value"])}

    def update(self, param: Tensor, grad: Tensor, state: State, group: Group) -> None:
        state["step"] += 1
        blockwise(
            adagrad,
            (param, grad, state["sum"]),
            state["step"],
            group["lr"],
            group["lr_decay"],
            group["eps"],
            group["weight_decay"],
        )

    def update_all(
        self, params: list[Tensor], grads: list[Tensor], states: list[State], group: Group
    ) -> None:
        if group["fused"] and fusible(params, grads, states):
            fused_adagrad(params, grads, states, group)
        else:
            super().update_all(params, grads, states, group)


def fused_adagrad(
    params: list[Tensor], grads: list[Tensor], states: list[State], group: Group
) -> None:
    """Torch's kernel for AdaGrad."""
    torch._fused_adagrad_(
        params,
        grads,
        [state["sum"] for state in states],
        next_steps(states, params[0].device),
        lr=group["lr"],
        lr_decay=group["lr_decay"],
        weight_decay=group["weight_decay"],
        eps=float(not_zero(group["eps"], params[0])),
        maximize=group["maximize"],
    )
