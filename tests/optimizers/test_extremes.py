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

from tests.optimizers.methods import (
    METHODS,
    build,
    class_of,
    forms,
    give,
    idle,
    remembered,
    same,
    separable,
    settings_of,
    step,
)

SEPARABLE = [name for name in METHODS if separable(name)]
FORMS = [pytest.param(name, {}, id=name) for name in METHODS] + [
    pytest.param(name, form, id=f"{name}-{word}") for name in METHODS for word, form in forms(name)
]
every_form = pytest.mark.parametrize(("name", "form"), FORMS)

EXTREMES = (0.0, -0.0, 1e-45, -1e-38, 1e-30, -1e-30, 1e-5, -1.0, 1e10, 1e19, -1e20, 1e30, -1e30)
LARGEST = {torch.bfloat16: 1e37, torch.float32: 1e37, torch.float64: 1e307}
fractions = st.sampled_from([0.0, 0.5, 0.9, 0.99, 0.999]) | st.floats(0, 0.9999)
RANGES: dict[str, st.SearchStrategy[Any]] = {
    "lr": st.sampled_from([0.0, 1e-3]) | st.floats(0, 0.1),
    "weight_decay": st.sampled_from([0.0, 0.1]) | st.floats(0, 0.1),
    "eps": st.sampled_from([1e-10, 1e-8, 1e-3]) | st.floats(1e-12, 1),
    "betas": st.tuples(fractions, fractions),  # or as many as the method has
    "gamma": st.sampled_from([0.0, 0.025]) | st.floats(0, 1),
    "adamw_betas": st.tuples(fractions, fractions),
    "grafting_eps": st.sampled_from([1e-10, 1e-8, 1e-3]) | st.floats(1e-12, 1),
    "max_precondition_dim": st.integers(0, 6),
    "max_preconditioner_dim": st.integers(1, 6),
    "adamw_eps": st.sampled_from([1e-10, 1e-8, 1e-3]) | st.floats(1e-12, 1),
    "ns_steps": st.integers(1, 8),
    "adjust_lr_fn": st.sampled_from(["match_rms_adamw", "original", "spectral_unclamped"]),
    "momentum": fractions,
    "alpha": fractions,
    "rho": fractions,
    "lr_decay": st.floats(0, 10),
    "momentum_decay": st.floats(0, 10),
    "r": st.floats(0, 10),
    "weight_lr_power": st.floats(0, 10),
    "total_steps": st.none() | st.integers(1, 10),
    "d0": st.sampled_from([1e-6, 1e-3, 1.0]),
    "d_coef": st.floats(0, 10),
    "use_bias_correction": st.booleans(),
    "safeguard_warmup": st.booleans(),
    "initial_accumulator_value": st.sampled_from([0.0, 1.0]),
    "centered": st.booleans(),
    "nesterov": st.booleans(),
    "maximize": st.booleans(),
}


def allowed(name: str) -> st.SearchStrategy[dict[str, Any]]:
    """Settings within the ranges that the method's docstring gives."""
    known = {key: RANGES[key] for key in settings_of(name) if key in RANGES}
    if "betas" in known:
        known["betas"] = st.tuples(*[fractions] * len(settings_of(name)["betas"]))
    return st.fixed_dictionaries({**known, "maximize": RANGES["maximize"]})


shapes = st.lists(
    st.lists(st.integers(0, 5), max_size=3).map(tuple) | st.just(()), min_size=1, max_size=4
)


def gradients(dtype: torch.dtype) -> st.SearchStrategy[list[list[float]]]:
    """A few steps' gradients of ten elements, extremes among them."""
    top = LARGEST[dtype]
    extremes = [value for value in EXTREMES if abs(value) <= top]
    element = st.sampled_from([*extremes, top, -top]) | st.floats(-top, top)
    return st.lists(st.lists(element, min_size=10, max_size=10), min_size=1, max_size=8)


def filled(values: list[float], shapes: list[tuple[int, ...]], dtype: torch.dtype) -> list[Tensor]:
    """Tensors with the values in turns; every second one is not contiguous."""
    tensors = []
    for index, shape in enumerate(shapes):
        flat = torch.tensor(values * 13, dtype=dtype)[index : index + math.prod(shape)]
        tensors.append(flat.view(shape[::-1]).permute(tuple(reversed(range(len(shape))))))
        if index % 2 == 0:
            tensors[-1] = tensors[-1].contiguous()
    return tensors


@pytest.mark.parametrize("examples", [10, pytest.param(60, marks=pytest.mark.slow)])
@pytest.mark.parametrize("dtype", LARGEST, ids=str)
@every_form
def test_no_nan_from_finite_gradients(
    name: str, form: dict[str, Any], dtype: torch.dtype, examples: int
) -> None:
    @settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(chosen=allowed(name), steps=gradients(dtype), sizes=shapes)
    def check(
        chosen: dict[str, Any], steps: list[list[float]], sizes: list[tuple[int, ...]]
    ) -> None:
        start = [0.0, 1.0, -1.0, 1e-30, 1e-3, 10.0, -5.0, 0.5, 2.0, 0.1]
        params = filled(start, sizes, dtype)
        optimizer = build(name, params, **chosen, **form)
        for values in steps:
            give(params, filled(values, sizes, dtype))
            step(optimizer)
            assert not any(bool(x.isnan().any()) for x in [*params, *remembered(optimizer)])
            if not all(bool(x.isfinite().all()) for x in params):
                return  # a huge gradient over a tiny ε: the next step starts from infinity

    check()


@pytest.mark.parametrize("dtype", [torch.float16, *LARGEST], ids=str)
@every_form
def test_epsilon_does_not_round_to_zero(
    name: str, form: dict[str, Any], dtype: torch.dtype
) -> None:
    chosen = {key: 5e-324 for key in settings_of(name) if key.split("_")[-1] == "eps"}
    params = filled([1.0, -2.0], [(3, 2), (4,), ()], dtype)
    optimizer = build(name, params, **chosen, **form)
    for size in (0.0, 0.0, 1e-30, 0.0, 1e-5, 1.0, 0.0):
        give(params, [torch.full_like(param, size) for param in params])
        step(optimizer)
        assert all(bool(x.isfinite().all()) for x in [*params, *remembered(optimizer)])


@every_form
def test_tiny_and_huge_gradients_in_turns(name: str, form: dict[str, Any]) -> None:
    """The sequence that turns an average of squares to infinity and then forgets at once."""
    betas = settings_of(name).get("betas", [])
    for forget in (
        {},
        {"betas": (*betas[:-1], 0.0)},
        {"alpha": 0.0},
        {"rho": 0.0},
        {"centered": True},
    ):
        if not set(forget) <= set(settings_of(name)):
            continue
        params = [torch.ones(4, 4), torch.ones(5)]
        optimizer = build(name, params, **forget, **form)
        for size in (1e30, 1e-30, 0.0, -1e30, 1e30, 0.0, 1.0):
            give(params, [torch.full_like(param, size) for param in params])
            step(optimizer)
            assert not any(bool(x.isnan().any()) for x in [*params, *remembered(optimizer)])


@pytest.mark.slow
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
@pytest.mark.parametrize("name", SEPARABLE)
def test_an_element_keeps_its_troubles_to_itself(
    name: str, form: dict[str, Any], bad: float
) -> None:
    if form and "fused" not in class_of(name)([torch.zeros(1)]).defaults:
        form = {}
    index = 22 if bad < 0 else 17  # where the finite gradient has the other sign
    hit, spared = [torch.ones(40), torch.ones(3)], [torch.ones(40), torch.ones(3)]
    ours, other = build(name, hit, **form), build(name, spared, **form)
    for number in range(4):
        grads = [torch.linspace(-1, 1, 40) * (number + 1), torch.ones(3)]
        give(hit, grads)
        give(spared, grads)
        if number == 1:
            hit[0].grad[index] = bad  # type: ignore[index]
        ours.step()
        other.step()
    rest = torch.arange(40) != index
    assert same([hit[0][rest], hit[1]], [spared[0][rest], spared[1]])
    assert not torch.equal(hit[0], spared[0])


@pytest.mark.parametrize("name", METHODS)
def test_infinite_gradients_are_not_hidden(name: str) -> None:
    """What is not finite stays visible: in the parameter, or in what is remembered of it."""
    after, finite = {}, {}
    for size in (1e-3, 1.0, math.inf):
        params = [torch.ones(4, 4)]
        optimizer = build(name, params)
        give(params, [torch.full((4, 4), size)])
        for _ in range(idle(name) + 1):
            step(optimizer)
        kept = [*params, *remembered(optimizer)]
        after[size], finite[size] = params, all(bool(x.isfinite().all()) for x in kept)
    # A method that steps by the gradient's sign and remembers nothing has nowhere to show it.
    by_sign = same(after[1e-3], after[1.0]) and same(after[1.0], after[math.inf])
    assert not finite[math.inf] or by_sign
