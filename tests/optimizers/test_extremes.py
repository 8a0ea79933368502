"""No NaN is born from finite input, and nothing spreads from one element to another."""

import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.optimizers.methods import METHODS, build, class_of, clones, give, same, settings_of

ELEMENTWISE = [name for name in METHODS if class_of(name).elementwise]
FORMS = [pytest.param(name, {}, id=name) for name in METHODS] + [
    pytest.param(name, {"fused": False}, id=f"{name}-plain")
    for name in METHODS
    if "fused" in class_of(name)([torch.zeros(1)]).defaults
]
every_form = pytest.mark.parametrize(("name", "form"), FORMS)

EXTREMES = (0.0, -0.0, 1e-45, -1e-38, 1e-30, -1e-30, 1e-5, -1.0, 1e10, 1e19, -1e20, 1e30, -1e30)
LARGEST = {torch.float32: 1e37, torch.float64: 1e307}
fractions = st.sampled_from([0.0, 0.5, 0.9, 0.99, 0.999]) | st.floats(0, 0.9999)
RANGES: dict[str, st.SearchStrategy[Any]] = {
    "lr": st.sampled_from([0.0, 1e-3]) | st.floats(0, 0.1),
    "weight_decay": st.sampled_from([0.0, 0.1]) | st.floats(0, 0.1),
    "eps": st.sampled_from([1e-10, 1e-8, 1e-3]) | st.floats(1e-12, 1),
    "betas": st.tuples(fractions, fractions),
    "momentum": fractions,
    "alpha": fractions,
    "rho": fractions,
    "lr_decay": st.floats(0, 10),
    "momentum_decay": st.floats(0, 10),
    "initial_accumulator_value": st.sampled_from([0.0, 1.0]),
    "centered": st.booleans(),
    "nesterov": st.booleans(),
    "maximize": st.booleans(),
}


def allowed(name: str) -> st.SearchStrategy[dict[str, Any]]:
    """Settings within the ranges that the method's docstring gives."""
    known = {key: RANGES[key] for key in settings_of(name) if key in RANGES}
    return st.fixed_dictionaries({**known, "maximize": RANGES["maximize"]})


def gradients(dtype: torch.dtype) -> st.SearchStrategy[list[list[float]]]:
    """A few steps' gradients of ten elements, extremes among them."""
    top = LARGEST[dtype]
    element = st.sampled_from([*EXTREMES, top, -top]) | st.floats(-top, top)
    return st.lists(st.lists(element, min_size=10, max_size=10), min_size=1, max_size=8)


def split(values: list[float], dtype: torch.dtype) -> list[Tensor]:
    """A matrix, a vector, a number and one that is not contiguous."""
    flat = torch.tensor(values, dtype=dtype)
    return [
        flat[:4].view(2, 2),
        flat[4:7].clone(),
        flat[7].clone(),
        flat.flip(0)[:4].view(2, 2).t(),
    ]


def remembered(optimizer: Any) -> list[Tensor]:
    return [x for state in optimizer.state.values() for x in state.values() if torch.is_tensor(x)]


@pytest.mark.parametrize("dtype", LARGEST, ids=str)
@every_form
def test_no_nan_from_finite_gradients(name: str, form: dict[str, Any], dtype: torch.dtype) -> None:
    @settings(
        max_examples=25,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(chosen=allowed(name), steps=gradients(dtype))
    def check(chosen: dict[str, Any], steps: list[list[float]]) -> None:
        params = split([0.0, 1.0, -1.0, 1e-30, 1e-3, 10.0, -5.0, 0.5, 2.0, 0.1], dtype)
        optimizer = build(name, params, **chosen, **form)
        for values in steps:
            give(params, split(values, dtype))
            optimizer.step()
            assert not any(bool(x.isnan().any()) for x in [*params, *remembered(optimizer)])

    check()


@every_form
def test_tiny_and_huge_gradients_in_turns(name: str, form: dict[str, Any]) -> None:
    """The sequence that turns an average of squares to infinity and then forgets at once."""
    for forget in ({}, {"betas": (0.9, 0.0)}, {"alpha": 0.0}, {"rho": 0.0}, {"centered": True}):
        if not set(forget) <= set(settings_of(name)):
            continue
        params = [torch.ones(4, 4), torch.ones(5)]
        optimizer = build(name, params, **forget, **form)
        for size in (1e30, 1e-30, 0.0, -1e30, 1e30, 0.0, 1.0):
            give(params, [torch.full_like(param, size) for param in params])
            optimizer.step()
            assert not any(bool(x.isnan().any()) for x in [*params, *remembered(optimizer)])


def test_without_fused_multiply_add() -> None:
    """The same on a processor that rounds a product before it is added (x86 has a switch)."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "in_turns"]
    done = subprocess.run(
        [*command, __file__],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "ATEN_CPU_CAPABILITY": "default"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("bad", [math.inf, -math.inf, math.nan])
@pytest.mark.parametrize("form", [{}, {"fused": False}], ids=["", "plain"])
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_an_element_keeps_its_troubles_to_itself(
    name: str, form: dict[str, Any], bad: float
) -> None:
    if form and "fused" not in class_of(name)([torch.zeros(1)]).defaults:
        form = {}
    hit, spared = [torch.ones(40), torch.ones(3)], [torch.ones(40), torch.ones(3)]
    ours, other = build(name, hit, **form), build(name, spared, **form)
    for step in range(4):
        grads = [torch.linspace(-1, 1, 40) * (step + 1), torch.ones(3)]
        give(hit, grads)
        give(spared, grads)
        if step == 1:
            hit[0].grad[17] = bad  # type: ignore[index]
        ours.step()
        other.step()
    rest = torch.arange(40) != 17
    assert same([hit[0][rest], hit[1]], [spared[0][rest], spared[1]])
    assert not torch.equal(hit[0], spared[0])


@pytest.mark.parametrize("name", METHODS)
def test_infinite_gradients_are_not_hidden(name: str) -> None:
    """What is not finite stays visible: in the parameter, or in what is remembered of it."""
    params = clones([torch.ones(4, 4)])
    optimizer = build(name, params)
    give(params, [torch.full((4, 4), math.inf)])
    optimizer.step()
    if name != "lion":  # whose step is ±lr for an infinite gradient as for any other
        kept = [*params, *remembered(optimizer)]
        assert not all(bool(x.isfinite().all()) for x in kept)
