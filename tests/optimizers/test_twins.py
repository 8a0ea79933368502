"""Each method takes the steps that its reference takes."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torch.optim import Optimizer

from tests.optimizers.methods import METHODS, Settings, build, clones, distance, give, tensors
from tests.optimizers.references import (
    LISTED,
    OWN,
    TRANSCRIBED,
    TRANSCRIPTIONS,
    TWINS,
    settings_for,
)
from tests.optimizers.test_packages import PACKAGES

TOLERANCE = {torch.float32: 1e-6, torch.float64: 1e-12}
SHAPES = ((), (1,), (37,), (16, 9), (0,), (2, 3, 4))
MATRICES = ((16, 9), (9, 16), (1, 5), (4, 4))

CASES = [
    pytest.param(name, settings, id=f"{name}-{settings}")
    for name in TWINS
    for settings in settings_for(name)
]
LONG_CASES = [
    pytest.param(name, settings, id=f"{name}-{settings}")
    for name in TWINS
    for settings in [*LISTED[name], *OWN.get(name, [])]
]


@pytest.fixture(autouse=True)
def double_scalars() -> Iterator[None]:
    """Torch keeps scalar state, such as NAdam's product, in the default dtype; ours is double."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def family(name: str, settings: Settings, models: Any, theirs: Any) -> tuple[list[Any], Optimizer]:
    """Our forms of a method, and torch's plainest with every setting that both have."""
    twin = TWINS[name]
    pairs = zip(models, twin.kernels, strict=True)
    ours = [build(name, mine, **{**twin.ours, **settings, **kernel}) for mine, kernel in pairs]
    known = set(twin.cls([torch.zeros(1, 1)]).defaults) - {"fused"}
    shared = {key: value for key, value in ours[0].defaults.items() if key in known}
    if not twin.matrices_only:
        shared |= {"foreach": False}
    return ours, twin.cls(theirs, **twin.extra | shared)


def test_every_method_has_a_reference() -> None:
    missing = {*METHODS} - {*TWINS, *TRANSCRIPTIONS, *PACKAGES, "sam", "sam_adamw"}
    assert not missing, (
        f"add a twin or a transcription to tests/optimizers/references.py: {missing}"
    )


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize(("name", "settings"), CASES)
def test_random_tensors(name: str, settings: Settings, dtype: torch.dtype) -> None:
    shapes = MATRICES if TWINS[name].matrices_only else SHAPES
    theirs = tensors(1, dtype, shapes)
    models = [clones(theirs) for _ in TWINS[name].kernels]
    ours, twin = family(name, settings, models, theirs)
    for step in range(12):
        # Scales from 1e-4 to 1e4, so that nothing is hidden by gradients of one size.
        grads = [grad * 10.0 ** (step % 5 * 2 - 4) for grad in tensors(100 + step, dtype, shapes)]
        for params, optimizer in zip([theirs, *models], [twin, *ours], strict=True):
            give(params, grads)
            optimizer.step()
        assert all(distance(mine, theirs) < TOLERANCE[dtype] for mine in models)


@pytest.mark.parametrize(
    ("dtype", "steps"),
    [(torch.float64, 100), (torch.float32, 40),
     pytest.param(torch.float32, 100, marks=pytest.mark.slow)],
)  # fmt: skip
@pytest.mark.parametrize(("name", "settings"), LONG_CASES)
def test_network(name: str, settings: Settings, dtype: torch.dtype, steps: int) -> None:
    """A network's steps, all with the twin's gradients, so that chaos adds nothing.

    A formula that differs shows in float64; float32 shows what is rounded at another place.
    """
    net = network(name, dtype)
    theirs = list(net.parameters())
    x, y = torch.randn(32, 12, dtype=dtype), torch.randint(0, 4, (32,))
    models = [clones(theirs) for _ in TWINS[name].kernels]
    ours, twin = family(name, settings, models, theirs)
    for _ in range(steps):
        twin.zero_grad()
        functional.cross_entropy(net(x), y).backward()
        for params, optimizer in zip(models, ours, strict=True):
            give(params, [gradient(param) for param in theirs])
            optimizer.step()
        twin.step()
    assert all(distance(mine, clones(theirs)) < TOLERANCE[dtype] for mine in models)


@pytest.mark.parametrize("name", TWINS)
def test_own_trajectory(name: str) -> None:
    """100 steps, each network with its own gradients."""
    nets = [network(name, torch.float64) for _ in (None, *TWINS[name].kernels)]
    x, y = torch.randn(32, 12, dtype=torch.float64), torch.randint(0, 4, (32,))
    theirs, *models = [list(net.parameters()) for net in nets]
    ours, twin = family(name, {}, models, theirs)
    for _ in range(100):
        for net, optimizer in zip(nets, [twin, *ours], strict=True):
            optimizer.zero_grad()
            functional.cross_entropy(net(x), y).backward()
            optimizer.step()
    assert all(distance(clones(mine), clones(theirs)) < 1e-12 for mine in models)


@pytest.mark.parametrize(
    ("name", "settings"),
    [(name, settings) for name, several in TRANSCRIBED.items() for settings in several],
    ids=str,
)
def test_transcription(name: str, settings: Settings) -> None:
    start = tensors(5, torch.float64, [(40,)])
    params = clones(start)
    optimizer = build(name, params, **settings)
    grads = [tensors(50 + step, torch.float64, [(40,)])[0] for step in range(30)]
    for grad in grads:
        give(params, [grad])
        optimizer.step()
    expected = TRANSCRIPTIONS[name](
        start[0].numpy(), [grad.numpy() for grad in grads], optimizer.defaults
    )
    np.testing.assert_allclose(params[0].numpy(), expected, rtol=1e-12, atol=1e-13)


def network(name: str, dtype: torch.dtype) -> torch.nn.Module:
    """A small network with smooth activations, the same each time; matrices for Muon."""
    torch.manual_seed(0)
    bias = not TWINS[name].matrices_only
    layers = torch.nn.Linear(12, 16, bias=bias), torch.nn.Tanh(), torch.nn.Linear(16, 4, bias=bias)
    return torch.nn.Sequential(*layers).to(dtype)


def gradient(param: Tensor) -> Tensor:
    assert param.grad is not None
    return param.grad
