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
Step = Callable[[list[Tensor]], None]  # along gradients


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
    """A kernel of torch's. Who steps often with the same tensors, and knows that they are
    `fusible`, keeps what `bound` returns, which saves half of a small network's step.

    Args:
        bound: of parameters, their states and their group, of which only the learning rate may
            change afterwards: takes a step along gradients; None where the kernel's result would
            differ.
        bare: whether it takes any kind of tensor, by the group.
    """

    bound: Callable[[list[Tensor], list[State], Group], Step | None]
    bare: Callable[[Group], bool] | None = None

    def __call__(
        self, params: list[Tensor], grads: list[Tensor], states: list[State], group: Group
    ) -> bool:
        takes_all = self.bare is not None and self.bare(group)
        if not takes_all and not fusible(params, grads, states):
            return False
        step = self.bound(params, states, group)
        if step is not None:
            step(grads)
        return step is not None


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
    kernel: Callable[..., None], params: list[Tensor], states: list[State], group: Group
) -> Step:
    """Adam's family, with AMSGrad's maxima if the state has them."""
    maxima = [state["max_exp_avg_sq"] for state in states if "max_exp_avg_sq" in state]
    averages = [state["exp_avg"] for state in states]
    squares = [state["exp_avg_sq"] for state in states]
    beta1, beta2 = group["betas"][0], not_zero(group["betas"][1], params[0])
    eps, device = not_zero(group["eps"], params[0]), params[0].device

    def step(grads: list[Tensor]) -> None:
        kernel(
            params,
            grads,
            averages,
            squares,
            maxima,
            _next_steps(states, device),
            amsgrad=bool(maxima),
            lr=group["lr"],
            beta1=beta1,
            beta2=beta2,
            weight_decay=group["weight_decay"],
            eps=eps,
            maximize=group["maximize"],
        )

    return step


def _adagrad(params: list[Tensor], states: list[State], group: Group) -> Step:
    sums = [state["sum"] for state in states]
    eps, device = float(not_zero(group["eps"], params[0])), params[0].device

    def step(grads: list[Tensor]) -> None:
        torch._fused_adagrad_(
            params,
            grads,
            sums,
            _next_steps(states, device),
            lr=group["lr"],
            lr_decay=group["lr_decay"],
            weight_decay=group["weight_decay"],
            eps=eps,
            maximize=group["maximize"],
        )

    return step


def _sgd(params: list[Tensor], states: list[State], group: Group) -> Step | None:
    """Gradient descent; without a decay it is an addition, for any kind of tensor."""
    if group["weight_decay"]:
        return _momentum(params, states, group)

    def step(grads: list[Tensor]) -> None:
        lr = group["lr"]
        torch._foreach_add_(params, grads, alpha=lr if group["maximize"] else -lr)

    return step


def _momentum(
    params: list[Tensor], states: list[State], group: Group, *, nesterov: bool = False
) -> Step | None:
    """Gradient descent and its momenta; with μ = 0 the kernel would leave a buffer unchanged."""
    buffers = [state["momentum_buffer"] for state in states if state]
    if buffers and not group["momentum"]:
        return None
    momentum = group["momentum"] if buffers else 0.0

    def step(grads: list[Tensor]) -> None:
        torch._fused_sgd_(
            params,
            grads,
            buffers,
            weight_decay=group["weight_decay"],
            momentum=momentum,
            lr=group["lr"],
            dampening=0.0,
            nesterov=nesterov,
            maximize=group["maximize"],
            is_first_step=False,
        )

    return step


fused_adam = Fused(partial(_adam, torch._fused_adam_))
fused_adamw = Fused(partial(_adam, torch._fused_adamw_))
fused_adagrad = Fused(_adagrad)
fused_sgd = Fused(_sgd, bare=lambda group: not group["weight_decay"])
fused_momentum = Fused(_momentum)
fused_nesterov = Fused(partial(_momentum, nesterov=True))
