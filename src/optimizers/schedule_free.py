"""The base of the Schedule-Free methods: they train at one point and are judged by another."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from src.optimizers.directions import Direction
from src.optimizers.formulas import Scalar, cast, copied, larger, power
from src.optimizers.kernels import Group, State
from src.optimizers.method import Method, fits

ROUNDED_ALIKE = (torch.float32, torch.float64)
COUNTS = ("k", "lr_max", "weight_sum", "share")  # what a parameter's state holds beside tensors


def look_ahead(param: Tensor, x: Tensor, z: Tensor, share: Scalar, beta: Scalar) -> Direction:
    """Take z into the average x, and set the parameter to (1−β)·z + β·x; no step is left then."""
    x.lerp_(z, cast(share, x))
    torch.lerp(x, z, cast(1 - beta, x), out=param)
    return []


def ratio(part: Scalar, total: Scalar) -> Scalar:
    """part / total, and 0 where both are 0."""
    if isinstance(total, Tensor):
        return torch.where(total > 0, part / total, 0.0)
    return part / total if total > 0 else 0.0


def weigh(state: State, group: Group) -> None:
    """Count a parameter's step, and find the share of its new z in the average."""
    state["k"] += 1
    state["lr_max"] = larger(state["lr_max"], group["lr"])
    weight = power(state["k"], group["r"]) * power(state["lr_max"], group["weight_lr_power"])
    state["weight_sum"] += weight
    state["share"] = ratio(weight, state["weight_sum"])


def weigh_alike(params: list[Tensor], states: list[State], group: Group) -> bool:
    """Weigh once for small parameters that have taken the same steps; False, if they aren't so.

    Calls of torch for many tensors round those of few bits otherwise than calls for each.
    """
    if not all(fits(param) and param.dtype in ROUNDED_ALIKE for param in params):
        return False
    first, *others = states
    history = (first["k"], first["lr_max"], first["weight_sum"])
    if any((state["k"], state["lr_max"], state["weight_sum"]) != history for state in others):
        return False
    weigh(first, group)
    for state in others:
        state.update({name: first[name] for name in COUNTS})
    return True


class ScheduleFree(Method):
    """Steps with z, averages it in x, and takes gradients at y, between the two.

    `train()` puts y into the parameters, and `eval()` puts x there. It begins with y. A subclass
    has the settings `r` and `weight_lr_power`, and tells `beta`.

    Raises:
        RuntimeError: it shall step at the weights that it is judged by (from `step`).
    """

    # Of each parameter; k counts its steps, `share` is c, the last weight's part of `weight_sum`.
    averages: ClassVar[Mapping[str, Callable[[Tensor], Any]]] = {
        "k": lambda param: 0,
        "lr_max": lambda param: 0.0,
        "weight_sum": lambda param: 0.0,
        "share": lambda param: 0.0,
        "z": copied,
        "x": copied,
    }
    group_state: ClassVar[Mapping[str, Any]] = {"training": True}

    def beta(self, group: Group) -> Scalar:
        """The share of x in y."""
        raise NotImplementedError

    def update_all(
        self, params: list[Tensor], grads: list[Tensor], states: list[State], group: Group
    ) -> None:
        if not group["training"]:
            raise RuntimeError("its weights are those of eval(): call train() before step()")
        super().update_all(params, grads, states, group)

    def update(self, param: Tensor, grad: Tensor, state: State, group: Group) -> None:
        weigh(state, group)
        super().update(param, grad, state, group)

    def train(self) -> None:
        """Put the weights into the parameters at which it takes gradients."""
        self._switch(True)

    def eval(self) -> None:
        """Put the weights into the parameters that it is judged by."""
        self._switch(False)

    @torch.no_grad()
    def _switch(self, training: bool) -> None:
        for group in self.param_groups:
            if group["training"] is training:
                continue
            group["training"] = training
            for param in group["params"]:
                if state := self.state.get(param):
                    x, z = state["x"], state["z"]
                    param.copy_(torch.lerp(x, z, 1 - self.beta(group)) if training else x)
