"""Every method, with a rate that suits it, gets down a badly conditioned and a curved valley."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from src.training.loop import stepper
from src.training.weights import switches
from tests.optimizers.methods import METHODS, build, decay

# (rate on the quadratic, rate on Rosenbrock): the best of a coarse grid. A method that isn't
# here is tried with each of GRID, and gets more steps for being tuned less.
RATES = {
    "adabelief": (3.0, 1.0),
    "adadelta": (3.0, 3.0),
    "adagrad": (1.0, 3.0),
    "adam": (1.0, 0.3),
    "adamax": (3.0, 1.0),
    "adamw": (1.0, 0.3),
    "adan": (3.0, 1.0),
    "ademamix": (3.0, 1.0),
    "adopt": (3.0, 3.0),
    "amsgrad": (0.3, 1.0),
    "cautious_adamw": (1.0, 1.0),
    "cautious_lion": (0.1, 0.03),
    "lamb": (1.0, 0.1),
    "lion": (0.1, 0.01),
    "mars": (0.03, 0.01),
    "momentum": (0.003, 0.001),
    "muon": (0.3, 0.03),
    "nadam": (0.3, 0.1),
    "nadamw": (3.0, 0.3),
    "nesterov": (0.001, 0.001),
    "prodigy": (1.0, 0.1),
    "radam": (0.09, 0.3),
    "rmsprop": (0.1, 0.1),
    "sam": (0.003, 0.001),
    "sam_adamw": (0.1, 0.3),
    "schedule_free_adamw": (3.0, 1.0),
    "schedule_free_sgd": (0.01, 0.03),
    "sgd": (0.0018, 0.004),
    "shampoo": (0.3, 1.0),
    "signum": (0.01, 0.01),
    "soap": (0.1, 0.01),
}
GRID = (1e-4, 1e-3, 1e-2, 0.1, 1.0)


def quadratic(w: Tensor) -> Tensor:
    """Condition number 1000, on a matrix, so that it also tests what treats matrices apart."""
    curvature = torch.logspace(0, 3, 20, dtype=w.dtype).view(4, 5).t()
    return (curvature * w**2).sum() / 2


def rosenbrock(w: Tensor) -> Tensor:
    return (1 - w[0]) ** 2 + 100 * (w[1] - w[0] ** 2) ** 2


def descend(name: str, loss: Callable[[Tensor], Tensor], w: Tensor, lr: float, steps: int) -> float:
    """What remains of the loss: after a tenth of warm-up, the rate falls linearly to 0."""
    w = w.double().clone().requires_grad_()
    optimizer = build(name, [w], **decay(name, 0.0))
    take = stepper(optimizer, lambda: loss(w))
    first = float(loss(w).detach())
    for step in range(steps):
        left = min((step + 1) / (steps / 10), (steps - step) / steps)
        optimizer.param_groups[0]["lr"] = lr * left
        take()
    if switches(optimizer):
        optimizer.eval()
    last = float(loss(w).detach())
    return last / first if last == last else float("inf")


@pytest.mark.parametrize("name", METHODS)
def test_quadratic(name: str) -> None:
    rates = RATES[name][:1] if name in RATES else GRID
    left = [descend(name, quadratic, torch.ones(5, 4), lr, 400) for lr in rates]
    assert min(left) < 1e-3


@pytest.mark.parametrize("name", METHODS)
def test_rosenbrock(name: str) -> None:
    rates, steps = (RATES[name][1:], 1200) if name in RATES else (GRID, 5000)
    left = [descend(name, rosenbrock, torch.tensor([-1.2, 1.0]), lr, steps) for lr in rates]
    assert min(left) < 0.01
