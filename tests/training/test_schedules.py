"""Schedules against torch's own, and the rate that a run reports."""

import inspect
import math
from pkgutil import resolve_name

import pytest
import torch
import yaml
from torch.optim import lr_scheduler

from src.config import CONF
from src.training.schedules import Constant, Cosine, Linear, Step, set_lr

TOTAL, WARMUP = 50, 7

# Each of ours beside the torch scheduler that follows the warm-up, over the steps that remain.
TWINS = {
    "constant": (Constant, {}, lambda o, n: lr_scheduler.ConstantLR(o, 1.0, n)),
    "cosine": (
        Cosine,
        {"end_factor": 0.1},
        lambda o, n: lr_scheduler.CosineAnnealingLR(o, n, eta_min=0.1 * 0.3),
    ),
    "linear": (Linear, {"end_factor": 0.2}, lambda o, n: lr_scheduler.LinearLR(o, 1.0, 0.2, n)),
    "step": (Step, {"step_size": 9, "gamma": 0.5}, lambda o, n: lr_scheduler.StepLR(o, 9, 0.5)),
}


def optimizer() -> torch.optim.Optimizer:
    return torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.3)


def rates_of_torch(make, steps):
    twin = optimizer()
    scheduler, rates = make(twin, steps), []
    for _ in range(steps):
        rates.append(twin.param_groups[0]["lr"])
        twin.step()
        scheduler.step()
    return rates


@pytest.mark.parametrize("warmup", [0, WARMUP])
@pytest.mark.parametrize("name", TWINS)
def test_equals_torch(name, warmup):
    kind, settings, twin = TWINS[name]
    schedule = kind(TOTAL, warmup, **settings)
    ours = [0.3 * schedule(step) for step in range(TOTAL)]
    ramp = [0.3 * (step + 1) / warmup for step in range(warmup)]
    assert ours == pytest.approx(ramp + rates_of_torch(twin, TOTAL - warmup), rel=1e-12)


def test_is_a_pure_function_of_the_step():
    schedule = Cosine(TOTAL, WARMUP)
    forwards = [schedule(step) for step in range(TOTAL)]
    assert [schedule(step) for step in reversed(range(TOTAL))] == forwards[::-1]


def test_set_lr_starts_from_the_configured_rate_of_each_group():
    one, two = (torch.zeros(1, requires_grad=True) for _ in range(2))
    both = torch.optim.SGD([{"params": [one]}, {"params": [two], "lr": 0.5}], lr=0.3)
    for factor in (0.5, 0.1, 1.0):
        set_lr(both, factor)
        assert [group["lr"] for group in both.param_groups] == [0.3 * factor, 0.5 * factor]


@pytest.mark.parametrize(
    ("kind", "settings", "named"),
    [
        (Constant, {"warmup_steps": -1}, "warmup_steps"),
        (Constant, {"warmup_steps": TOTAL + 1}, "warmup_steps"),
        (Constant, {"warmup_steps": 1.5}, "warmup_steps"),
        (Cosine, {"warmup_steps": -1}, "warmup_steps"),
        (Linear, {"warmup_steps": TOTAL + 1}, "warmup_steps"),
        (Step, {"warmup_steps": True}, "warmup_steps"),
        (Cosine, {"end_factor": 1.1}, "end_factor"),
        (Cosine, {"end_factor": True}, "end_factor"),
        (Linear, {"end_factor": -0.1}, "end_factor"),
        (Linear, {"end_factor": math.nan}, "end_factor"),
        (Step, {"gamma": "x"}, "gamma"),
        (Step, {"gamma": 1.5}, "gamma"),
        (Step, {"step_size": 0}, "step_size"),
        (Step, {"step_size": 9.0}, "step_size"),
    ],
)
def test_bad_settings_name_themselves(kind, settings, named):
    with pytest.raises(ValueError, match=f"{named} must be"):
        kind(TOTAL, **settings)


def test_warm_up_alone_fills_the_run():
    assert [Constant(4, 4)(step) for step in range(4)] == [0.25, 0.5, 0.75, 1.0]


def test_the_bounds_are_settings_too():
    assert [Cosine(4, 4, 1)(3), Linear(4, 0, 1)(3), Step(4, 0, 1, 1)(3)] == [1, 1, 1]
    assert [Linear(4, 0, 0)(2), Step(4, 0, 1, 0)(0), Step(4, 0, 1, 0)(1)] == [0.5, 1, 0]


def test_without_settings():
    """As conf/scheduler has them, beside which the classes can be used on their own."""
    assert [Cosine(10)(step) for step in (0, 5)] == pytest.approx([1, 0.5], rel=1e-12)
    assert [Linear(10)(step) for step in (0, 5, 10)] == [1, 0.5, 0]
    found = [Step(3000)(step) for step in (0, 999, 1000, 1999, 2000)]
    assert found == pytest.approx([1, 1, 0.1, 0.1, 0.01], rel=1e-12)


@pytest.mark.parametrize("name", ["constant", "step", "linear", "cosine"])
def test_yaml_and_class_have_the_same_defaults(name: str) -> None:
    settings = yaml.safe_load((CONF / "scheduler" / f"{name}.yaml").read_text())
    kind = resolve_name(settings.pop("_target_"))
    arguments = inspect.signature(kind).parameters.values()
    given = [one for one in arguments if one.name != "total_steps"]
    assert settings == {one.name: one.default for one in given}
    assert all(type(settings[one.name]) is type(one.default) for one in given)
