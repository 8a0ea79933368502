"""Torch's fused kernels, for the methods whose formula they compute.

The module calls the kernels (torch._fused_adam_ and others) directly: the functions around them
sort the tensors by device and keep a counter tensor per parameter, which takes as long as a small
network's whole update. The tests compare each kernel with its rule and with torch.optim.

A kernel takes a step with every parameter of a group and returns True. Where its result would
differ from the rule's it does nothing and returns False.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import torch
from torch import Tensor

from src.optimizers.formulas import not_zero

Group = dict[str, Any]
State = dict[str, Any]
Kernel = Callable[[list[Tensor], list[Tensor], list[State], Group], bool]


def fusible(params: list[Tensor], grads: list[Tensor], states: list[State]) -> bool:
    """Whether the kernels, which know only flat real memory, give the rule's result."""
    dtype, device = params[0].dtype, params[0].device
    if dtype not in (torch.float32, torch.float64) or device.type not in ("cpu", "cuda"):
        return False
    if any(param.device != device for param in params):
        return False
    state_tensors = [
        value for state in states for value in state.values() if isinstance(value, Tensor)
    ]
    for tensor in (*params, *grads, *state_tensors):
        if not tensor.is_contiguous() or tensor.dtype is not dtype:
            return False
    return True


@dataclass(frozen=True)
class Fused:
    """A kernel of torch's. Who knows that the tensors are `fusible` calls `sure`, which saves a
    third of a small network's step.

    Args:
        sure: takes the step.
        bare: whether it takes any kind of tensor, by the group.
    """

    sure: Kernel
    bare: Callable[[Group], bool] | None = None

    def __call__(
        self, params: list[Tensor], grads: list[Tensor], states: list[State], group: Group
    ) -> bool:
        takes_all = self.bare is not None and self.bare(group)
        takes = takes_all or fusible(params, grads, states)
        return takes and self.sure(params, grads, states, group)


def _next_steps(states: list[State], device: torch.device) -> list[Tensor]:
    """Count a step in every state; return the counts as the tensors that kernels take."""
    for state in states:
        state["step"] += 1
    first, *others = [state["step"] for state in states]
    tensors = [_count(first, device)]
    return tensors + [tensors[0] if count == first else _count(count, device) for count in others]


@lru_cache(maxsize=64)  # that of a step serves every parameter, and the models beside
def _count(step: int, device: torch.device) -> Tensor:
    """A number as a tensor; filled where it is: a copy to a GPU would wait for it."""
    return torch.full((), float(step), device=device)


def _adam(
    kernel: Callable[..., None],
    params: list[Tensor],
    grads: list[Tensor],
    states: list[State],
    group: Group,
) -> bool:
    """Adam's family, with AMSGrad's maxima if the state has them."""
    maxima = [state["max_exp_avg_sq"] for state in states if "max_exp_avg_sq" in state]
    kernel(
        params,
        grads,
        [state["exp_avg"] for state in states],
        [state["exp_avg_sq"] for state in states],
        maxima,
        _next_steps(states, params[0].device),
        amsgrad=bool(maxima),
        lr=group["lr"],
        beta1=group["betas"][0],
        beta2=not_zero(group["betas"][1], params[0]),
        weight_decay=group["weight_decay"],
        eps=not_zero(group["eps"], params[0]),
        maximize=group["maximize"],
    )
    return True


def _adagrad(params: list[Tensor], grads: list[Tensor], states: list[State], group: Group) -> bool:
    torch._fused_adagrad_(
        params,
        grads,
        [state["sum"] for state in states],
        _next_steps(states, params[0].device),
        lr=group["lr"],
        lr_decay=group["lr_decay"],
        weight_decay=group["weight_decay"],
        eps=float(not_zero(group["eps"], params[0])),
        maximize=group["maximize"],
    )
    return True


def _sgd(params: list[Tensor], grads: list[Tensor], states: list[State], group: Group) -> bool:
    """Gradient descent; without a decay it is an addition, for any kind of tensor."""
    if group["weight_decay"]:
        return _momentum(params, grads, states, group)
    lr = group["lr"]
    torch._foreach_add_(params, grads, alpha=lr if group["maximize"] else -lr)
    return True


def _momentum(
    params: list[Tensor],
    grads: list[Tensor],
    states: list[State],
    group: Group,
    *,
    nesterov: bool = False,
) -> bool:
    """Gradient descent and its momenta; with μ = 0 the kernel would leave a buffer unchanged."""
    buffers = [state["momentum_buffer"] for state in states if state]
    if buffers and not group["momentum"]:
        return False
    torch._fused_sgd_(
        params,
        grads,
        buffers,
        weight_decay=group["weight_decay"],
        momentum=group["momentum"] if buffers else 0.0,
        lr=group["lr"],
        dampening=0.0,
        nesterov=nesterov,
        maximize=group["maximize"],
        is_first_step=False,
    )
    return True


fused_adam = Fused(partial(_adam, torch._fused_adam_))
fused_adamw = Fused(partial(_adam, torch._fused_adamw_))
fused_adagrad = Fused(_adagrad)
fused_sgd = Fused(_sgd, bare=lambda group: not group["weight_decay"])
fused_momentum = Fused(_momentum)
fused_nesterov = Fused(partial(_momentum, nesterov=True))
