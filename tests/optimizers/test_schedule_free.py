"""Schedule-Free methods: what they train at, what they are judged by, and how they switch."""

import copy
from typing import Any

import pytest
from torch import Tensor

from tests.optimizers.methods import build, clones, give, run, same, tensors
from tests.optimizers.test_properties import DOUBLE, near, path, random

METHODS = ("schedule_free_adamw", "schedule_free_sgd")
BETA = {"schedule_free_adamw": {"betas": (0.8, 0.99)}, "schedule_free_sgd": {"momentum": 0.8}}
both = pytest.mark.parametrize("name", METHODS)


def points(optimizer: Any, name: str) -> list[Tensor]:
    return [state[name] for state in optimizer.state.values()]


@both
@pytest.mark.parametrize(("r", "power"), [(0.0, 2.0), (1.5, 1.0), (2.0, 0.0)])
def test_the_point_of_evaluation_is_the_weighted_mean_of_z(
    name: str, r: float, power: float
) -> None:
    params = tensors(0, DOUBLE)
    optimizer = build(name, params, r=r, weight_lr_power=power, weight_decay=0.1)
    weights, seen, largest = [], list[list[Tensor]](), 0.0
    for t, lr in enumerate((0.01, 0.02, 0.04, 0.03, 0.0, 0.05, 0.01), start=1):
        optimizer.param_groups[0]["lr"] = lr
        run(optimizer, params, [t])
        largest = max(largest, lr)
        weights.append(t**r * largest**power)
        seen.append(clones(points(optimizer, "z")))
    optimizer.eval()
    for index, param in enumerate(params):
        parts = [weight * z[index] for weight, z in zip(weights, seen, strict=True)]
        assert near([param], [sum(parts[1:], parts[0]) / sum(weights)])
    assert same(params, points(optimizer, "x"))


@both
def test_it_trains_between_the_mean_and_the_last_point(name: str) -> None:
    params = tensors(0, DOUBLE)
    optimizer = build(name, params, **BETA[name])
    run(optimizer, params, range(5))
    x, z = points(optimizer, "x"), points(optimizer, "z")
    assert near(params, [0.2 * a + 0.8 * b for a, b in zip(z, x, strict=True)])
    assert not near(x, z, 1e-3)


@pytest.mark.parametrize(
    ("name", "settings", "other", "others"),
    [
        ("schedule_free_sgd", {"momentum": 0.0}, "sgd", {}),
        ("schedule_free_adamw", {"betas": (0.0, 0.9)}, "adamw", {"betas": (0.0, 0.9)}),
    ],
    ids=str,
)
def test_without_the_mean_in_y_it_is_the_plain_method(
    name: str, settings: dict[str, Any], other: str, others: dict[str, Any]
) -> None:
    shared = {"lr": 0.1, "weight_decay": 0.2}
    ours = path(name, random(), **settings, **shared)
    theirs = path(other, random(), **others, **shared)
    assert all(near(x, y) for x, y in zip(ours, theirs, strict=True))


@both
def test_switching_loses_no_bit(name: str) -> None:
    params = tensors()
    optimizer = build(name, params)
    for switch in (optimizer.eval, optimizer.train):  # nothing is there to switch yet
        switch()
        assert same(params, tensors())
    run(optimizer, params, range(7))
    at_y = clones(params)
    optimizer.train()
    assert same(params, at_y)
    optimizer.eval()
    at_x = clones(params)
    assert not same(at_x, at_y)
    optimizer.eval()
    assert same(params, at_x)
    optimizer.train()
    assert same(params, at_y)


@both
def test_no_step_at_the_weights_that_it_is_judged_by(name: str) -> None:
    params = tensors()
    optimizer = build(name, params)
    run(optimizer, params, [0])
    optimizer.eval()
    before, state = clones(params), copy.deepcopy(optimizer.state_dict())
    give(params, tensors(1))
    with pytest.raises(RuntimeError, match=r"call train\(\) before step\(\)"):
        optimizer.step()
    assert same(params, before)
    assert str(optimizer.state_dict()) == str(state)


@both
def test_the_state_says_at_which_weights_it_is(name: str) -> None:
    params = tensors()
    optimizer = build(name, params)
    run(optimizer, params, range(3))
    optimizer.eval()
    other_params = clones(params)
    other = build(name, other_params)
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for each in (optimizer, other):
        each.train()
    assert same(params, other_params)
    assert not same(params, points(optimizer, "x"))


def test_a_large_parameter_is_moved_by_the_plain_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    """To where small ones are moved all at once."""
    after = []
    for size in (10**6, 3):
        monkeypatch.setattr("src.optimizers.method.BLOCK", size)
        params = tensors(0, DOUBLE)
        optimizer = build("schedule_free_sgd", params, lr=0.1, weight_decay=0.1)
        run(optimizer, params, range(5))
        after.append(params)
    assert near(*after)
