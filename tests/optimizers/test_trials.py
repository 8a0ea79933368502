"""K trials with K different settings, run through a rule at once, are K separate runs."""

from typing import Any

import pytest
import torch
from torch import Tensor

from tests.optimizers.methods import METHODS, Settings, build, class_of, give, settings_of, tensors

# What the trials get, cyclically, for a setting of this name; each K has all of them different.
VALUES = {
    "lr": (1e-3, 0.1, 3e-4, 0.02, 1.0),
    "weight_decay": (0.0, 0.1, 0.03, 0.3, 1e-4),
    "eps": (1e-8, 1e-3, 1e-10, 0.1, 1e-5),
    "momentum": (0.9, 0.5, 0.99, 0.7, 0.1),
    "alpha": (0.99, 0.5, 0.9, 0.0, 0.999),
    "rho": (0.9, 0.5, 0.99, 0.0, 0.95),
    "lr_decay": (0.0, 0.1, 0.5, 1e-3, 0.01),
    "momentum_decay": (4e-3, 0.0, 0.1, 0.01, 1e-3),
}
BETAS = ((0.9, 0.5, 0.0, 0.95, 0.8), (0.999, 0.9, 0.99, 0.0, 0.5), (0.99, 0.0, 0.9, 0.999, 0.5))
VARIANTS: dict[str, list[Settings]] = {
    "rmsprop": [{"centered": False}, {"centered": True}, {"momentum": 0.0}],
}
CASES = [
    (name, variant)
    for name in METHODS
    if class_of(name).rule.elementwise
    for variant in VARIANTS.get(name, [{}])
]
STEPS = 9  # RAdam rectifies from the sixth on, for some of the trials


def trials(name: str, variant: Settings, count: int) -> list[Settings]:
    """One trial's settings each."""
    several = []
    for k in range(count):
        chosen: Settings = {}
        for key in settings_of(name):
            if key in VALUES:
                chosen[key] = VALUES[key][k % 5]
            elif key == "betas":
                drawn = zip(settings_of(name)[key], BETAS, strict=False)
                chosen[key] = tuple(betas[(k + i) % 5] for i, (_, betas) in enumerate(drawn))
        several.append({**chosen, **variant})
    return several


def stacked(several: list[Settings], ndim: int) -> Settings:
    """The settings as tensors with the trials on a leading axis."""

    def column(values: list[float]) -> Tensor:
        return torch.tensor(values, dtype=torch.float64).view(-1, *[1] * ndim)

    together: Settings = {}
    for key, first in several[0].items():
        values = [settings[key] for settings in several]
        if isinstance(first, tuple):
            together[key] = tuple(column(list(each)) for each in zip(*values, strict=True))
        elif isinstance(first, bool) or len(set(values)) == 1:
            together[key] = first
        else:
            together[key] = column(values)
    return together


def separately(name: str, settings: Settings, start: Tensor, grads: list[Tensor]) -> list[Tensor]:
    """One trial by the method's own class; the parameter after each step."""
    params, seen = [start.clone()], []
    form = {"fused": False} if "fused" in class_of(name)(params).defaults else {}
    optimizer = build(name, params, **settings, **form)
    for grad in grads:
        give(params, [grad])
        optimizer.step()
        seen.append(params[0].clone())
    return seen


def at_once(name: str, several: list[Settings], start: Tensor, grads: list[Tensor]) -> list[Tensor]:
    """All trials by one call of the rule a step."""
    optimizer = build(name, [start.clone()])
    param = optimizer.param_groups[0]["params"][0]
    group = {**optimizer.param_groups[0], **stacked(several, param.ndim - 1)}
    state: dict[str, Any] = optimizer.initial_state(param, group)
    seen = []
    for grad in grads:
        optimizer.update(param, grad.clone(), state, group)
        seen.append(param.clone())
    return seen


@pytest.mark.parametrize(
    ("count", "shape"), [(2, ()), (5, (7,)), (5, (5, 20)), (17, (1,)), (3, (33,))], ids=str
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize(("name", "variant"), CASES, ids=str)
def test_at_once_is_separately(
    name: str, variant: Settings, dtype: torch.dtype, count: int, shape: tuple[int, ...]
) -> None:
    several = trials(name, variant, count)
    start = tensors(0, dtype, [(count, *shape)])[0]
    grads = [tensors(10 + step, dtype, [(count, *shape)])[0] for step in range(STEPS)]
    together = at_once(name, several, start, grads)
    for k, settings in enumerate(several):
        alone = separately(name, settings, start[k], [grad[k] for grad in grads])
        for step, expected in enumerate(alone):
            assert torch.equal(together[step][k], expected), (k, step)
