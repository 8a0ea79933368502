"""100 steps of a network, each with its own gradients, beside the authors' or the paper's steps."""

import contextlib
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import prodigyopt
import pytest
import pytorch_optimizer
import schedulefree
import torch
from torch import Tensor, nn
from torch.nn import functional

from src.training.loop import stepper
from src.training.weights import switches
from tests.optimizers.methods import Settings, build, class_of, clones, distance

DOUBLE = torch.float64
NEAR = 1e-10
STEPS = 100


@dataclass(frozen=True)
class Package:
    """A public class of the same method.

    Args:
        extra: settings that ours doesn't have.
        renamed: its name for a setting of ours.
        settings: those to compare, of ours.
    """

    cls: type
    settings: Sequence[Settings]
    extra: Settings = field(default_factory=dict)
    renamed: dict[str, str] = field(default_factory=dict)


AVERAGED: list[Settings] = [
    {},
    {"lr": 0.05, "weight_decay": 0.1},
    {"r": 1.0, "weight_lr_power": 1.0},
    {"weight_lr_power": 0.0, "r": 0.5},
]
PACKAGES = {
    "schedule_free_adamw": Package(
        schedulefree.AdamWScheduleFreeReference,
        [*AVERAGED, {"betas": (0.98, 0.9), "eps": 1e-3, "weight_decay": 0.01}],
    ),
    "schedule_free_sgd": Package(
        schedulefree.SGDScheduleFreeReference, [*AVERAGED, {"momentum": 0.98, "lr": 3.0}]
    ),
    "prodigy": Package(
        prodigyopt.Prodigy,
        [
            {},
            {"weight_decay": 0.1, "d_coef": 0.5},
            {"use_bias_correction": True, "betas": (0.8, 0.9), "d0": 1e-4},
            {"safeguard_warmup": True, "use_bias_correction": True, "weight_decay": 0.01},
            {"betas": (0.9, 0.99), "eps": 1e-3, "lr": 0.5},
        ],
    ),
    "ademamix": Package(
        pytorch_optimizer.AdEMAMix,
        [
            {},
            {"lr": 0.01, "weight_decay": 0.1},
            {"betas": (0.5, 0.9, 0.99), "alpha": 8.0, "eps": 1e-3},
            {"total_steps": 60},
            {"total_steps": 200, "betas": (0.9, 0.99, 0.999), "lr": 0.01},
        ],
        extra={"weight_decouple": True},
        renamed={"total_steps": "t_alpha_beta3"},
    ),
}
CASES = [
    pytest.param(name, settings, id=f"{name}-{settings}")
    for name, package in PACKAGES.items()
    for settings in package.settings
]


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(12, 16), nn.Tanh(), nn.Linear(16, 4)).to(DOUBLE)


def batches(count: int = STEPS) -> Iterator[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(1)
    for _ in range(count):
        inputs = torch.randn(16, 12, generator=generator, dtype=DOUBLE)
        yield inputs, inputs[:, :4].argmax(1)


def train(
    net: nn.Module, optimizer: Any, rate: Callable[[int], float] = lambda step: 1.0
) -> list[Tensor]:
    """The weights after all steps, those it is judged by included."""
    step = stepper(optimizer, lambda x, y: functional.cross_entropy(net(x), y))
    first = [group["lr"] for group in optimizer.param_groups]
    with contextlib.redirect_stdout(io.StringIO()):  # the packages talk
        if switches(optimizer):
            optimizer.train()
        for number, batch in enumerate(batches()):
            for group, lr in zip(optimizer.param_groups, first, strict=True):
                group["lr"] = lr * rate(number)
            step(*batch)
        weights = clones(list(net.parameters()))
        if switches(optimizer):
            optimizer.eval()
    return [*weights, *clones(list(net.parameters()))]


def theirs(name: str, params: Any, settings: Settings) -> Any:
    """The package's class with all settings that ours has."""
    package = PACKAGES[name]
    ours = build(name, [torch.zeros(1)], **settings).defaults
    shared = {package.renamed.get(key, key): value for key, value in ours.items()}
    for own in ("maximize", "fused"):
        shared.pop(own, None)
    with contextlib.redirect_stdout(io.StringIO()):
        return package.cls(params, **shared, **package.extra)


@pytest.mark.parametrize(("name", "settings"), CASES)
def test_package(name: str, settings: Settings) -> None:
    other = network()
    expected = train(other, theirs(name, other.parameters(), settings))
    for form in ({}, {"fused": False}) if "fused" in class_of(name).settings else ({},):
        net = network()
        ours = train(net, build(name, net.parameters(), **settings, **form))
        assert distance(ours, expected) < NEAR
        assert distance(ours[:4], clones(list(network().parameters()))) > 1e-6


@pytest.mark.parametrize("name", ["schedule_free_adamw", "schedule_free_sgd", "prodigy"])
def test_package_with_a_warm_up_and_a_fall(name: str) -> None:
    """What remembers the largest rate, or sums rates, is right where the rate changes."""

    def rate(step: int) -> float:
        return min((step + 1) / 30, (STEPS - step) / 50)

    net, other = network(), network()
    ours = train(net, build(name, net.parameters()), rate)
    assert distance(ours, train(other, theirs(name, other.parameters(), {}), rate)) < NEAR


@pytest.mark.parametrize("rho", [0.05, 0.5])
@pytest.mark.parametrize(
    ("name", "base", "settings"),
    [
        ("sam", torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.0}),
        ("sam", torch.optim.SGD, {"lr": 0.03, "momentum": 0.5, "weight_decay": 0.1}),
        ("sam_adamw", torch.optim.AdamW, {"lr": 0.01, "betas": (0.8, 0.9), "weight_decay": 0.1}),
    ],
    ids=str,
)
def test_two_passes(name: str, base: Any, settings: Settings, rho: float) -> None:
    """Foret et al. 2021, Algorithm 1, with torch's class for the base's step."""
    net, other = network(), network()
    ours = train(net, build(name, net.parameters(), rho=rho, **settings))
    params = list(other.parameters())
    step = base(params, **settings).step
    for x, y in batches():
        first = torch.autograd.grad(functional.cross_entropy(other(x), y), params)
        norm = torch.cat([grad.flatten() for grad in first]).norm()
        start = clones(params)
        with torch.no_grad():
            for param, grad in zip(params, first, strict=True):
                param += rho * grad / norm
        worst = torch.autograd.grad(functional.cross_entropy(other(x), y), params)
        with torch.no_grad():
            for param, value, grad in zip(params, start, worst, strict=True):
                param.copy_(value)
                param.grad = grad
        step()
    assert distance(ours[:4], clones(params)) < NEAR
