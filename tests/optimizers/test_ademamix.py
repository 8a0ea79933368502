"""AdEMAMix: AdamW with a slow average, and how the slow average warms up."""

import math

import pytest

from src.optimizers.ademamix import slow_beta
from tests.optimizers.test_properties import moves, near, path, random


def half_life(beta: float) -> float:
    return math.log(0.5) / math.log(beta)


def test_without_the_slow_average_it_is_adamw() -> None:
    shared = {"lr": 0.1, "weight_decay": 0.2, "eps": 1e-3}
    ours = path("ademamix", random(), alpha=0.0, betas=(0.8, 0.9, 0.99), **shared)
    theirs = path("adamw", random(), betas=(0.8, 0.9), **shared)
    assert all(near(x, y) for x, y in zip(ours, theirs, strict=True))


@pytest.mark.parametrize(("beta1", "beta3"), [(0.9, 0.9999), (0.5, 0.99)])
def test_the_half_life_of_the_slow_average_grows_linearly(beta1: float, beta3: float) -> None:
    first, last = half_life(beta1), half_life(beta3)
    for progress in (0.0, 0.125, 0.5, 0.75, 1.0):
        expected = first + progress * (last - first)
        assert half_life(slow_beta(progress, beta1, beta3)) == pytest.approx(expected, rel=1e-9)


def test_the_slow_average_at_the_edges_of_its_range() -> None:
    assert slow_beta(0.5, 0.0, 0.99) == pytest.approx(0.99**2)  # the first half-life is 0
    assert slow_beta(0.5, 0.9, 0.0) == 0.0
    assert slow_beta(0.5, 0.0, 0.0) == 0.0
    assert slow_beta(0.5, 0.99, 0.9) == 0.9  # never above the last


def test_alpha_grows_linearly() -> None:
    """With β = 0 all averages are the gradient: the step is lr·(1 + α(t)) times its sign."""
    grads, settings = random(1), {"betas": (0.0, 0.0, 0.0), "eps": 1e-30, "lr": 0.1}
    steps = moves(path("ademamix", grads * 6, alpha=2.0, total_steps=4, **settings))
    for step, alpha in zip(steps, (0.5, 1.0, 1.5, 2.0, 2.0, 2.0), strict=True):
        assert near(step, [-0.1 * (1 + alpha) * grad.sign() for grad in grads[0]])


def test_a_warm_up_of_one_step_is_none() -> None:
    ours, theirs = path("ademamix", random(), total_steps=1), path("ademamix", random())
    assert all(near(x, y) for x, y in zip(ours, theirs, strict=True))
    assert not near(path("ademamix", random(), total_steps=100)[-1], theirs[-1], 1e-6)
