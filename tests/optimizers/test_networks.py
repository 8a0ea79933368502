"""100 steps of a network, beside other people's packages and the papers' formulas, in double."""

from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pytest
import pytorch_optimizer
import timm.optim
import torch
from torch.nn import functional

from tests.optimizers.methods import Settings, build, clones, distance, give, settings_of
from tests.optimizers.references import DECAYING, MATRICES, TRANSCRIBED, TRANSCRIPTIONS

CLIMBING: Settings = {"maximize": True, "lr": 0.003}
CORRECTED: Settings = {"gamma": 0.5, "betas": (0.9, 0.95)}


@dataclass(frozen=True)
class Package:
    """A class of another package, and what makes it and ours the same method."""

    cls: type
    extra: Settings = field(default_factory=dict)  # its settings that ours does not have
    ours: Settings = field(default_factory=dict)  # of both, where they would differ otherwise
    cases: tuple[Settings, ...] = ({}, DECAYING[1], CLIMBING)


class MARS(pytorch_optimizer.MARS):  # type: ignore[misc]
    """Without the 1e-15 that the package adds to v, and no code of the authors does."""

    apply_ams_bound = staticmethod(
        partial(pytorch_optimizer.MARS.apply_ams_bound, exp_avg_sq_eps=0.0)
    )


PACKAGES = {
    "adopt": Package(timm.optim.Adopt, {"clip_exp": 0.25, "decoupled": True}),
    # It adds ε before it corrects v; a large one would show.
    "mars": Package(
        MARS, {"optimize_1d": True}, {"eps": 1e-30}, cases=({}, DECAYING[1], CLIMBING, CORRECTED)
    ),
    # When it maximizes, its first difference is twice the gradient and not 0.
    "adan": Package(
        pytorch_optimizer.Adan,
        {"weight_decouple": False},
        cases=({}, {"betas": (0.5, 0.8, 0.9), "weight_decay": 0.1, "lr": 0.01}, {"eps": 1e-3}),
    ),
    "nadamw": Package(timm.optim.NAdamW),
    "adabelief": Package(pytorch_optimizer.AdaBelief, cases=(*DECAYING, {"eps": 1e-3}, CLIMBING)),
    "signum": Package(
        pytorch_optimizer.SignSGD,
        cases=({}, {"momentum": 0.5, "weight_decay": 0.1, "lr": 0.01}, {"momentum": 0}, CLIMBING),
    ),
}
CHECKED = (1, 2, 3, 10, 50, 100)


class Training:
    """A small network on noisy minibatches, whose gradients are shared by all that is compared."""

    def __init__(self, hidden: int = 6) -> None:
        torch.manual_seed(0)
        layers = torch.nn.Linear(6, hidden), torch.nn.Tanh(), torch.nn.Linear(hidden, 6)
        self.net = torch.nn.Sequential(*layers).double()
        self.params = list(self.net.parameters())

    def gradients(self) -> list[torch.Tensor]:
        """Those of the next batch."""
        x = torch.randn(64, 6, dtype=torch.float64)
        y = torch.randn(64, 6, dtype=torch.float64) + x.roll(1, 1) ** 2
        loss = functional.mse_loss(self.net(x), y)
        return list(torch.autograd.grad(loss, self.params))


@pytest.mark.parametrize(
    ("name", "settings"),
    [(name, settings) for name, package in PACKAGES.items() for settings in package.cases],
    ids=str,
)
def test_package(name: str, settings: Settings) -> None:
    package, training = PACKAGES[name], Training()
    ours, theirs = clones(training.params), clones(training.params)
    chosen = {**settings_of(name), **package.ours, **settings}
    optimizer = build(name, ours, **chosen)
    other = package.cls(theirs, **{"foreach": False, **chosen, **package.extra})
    for _ in range(100):
        grads = training.gradients()
        for params, stepping in ((ours, optimizer), (theirs, other)):
            give(params, grads)
            stepping.step()
        assert distance(ours, theirs) < 1e-10
        for param, value in zip(training.params, ours, strict=True):
            param.data.copy_(value)
    assert distance(ours, clones(Training().params)) > 1e-3


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        (name, settings)
        for name, several in {**TRANSCRIBED, **MATRICES}.items()
        for settings in several
    ],
    ids=str,
)
def test_formula(name: str, settings: Settings) -> None:
    training = Training(hidden=10 if any("max_" in key for key in settings) else 6)
    start = [param.detach().numpy().copy() for param in training.params]
    optimizer: Any = build(name, training.params, **settings)
    steps: list[list[torch.Tensor]] = []
    for step in range(1, 101):
        steps.append(training.gradients())
        give(training.params, steps[-1])
        optimizer.step()
        for index, param in enumerate(training.params if step in CHECKED else []):
            grads = [grads[index].numpy() for grads in steps]
            expected = TRANSCRIPTIONS[name](start[index], grads, optimizer.defaults)
            np.testing.assert_allclose(param.detach().numpy(), expected, rtol=1e-10, atol=1e-10)
