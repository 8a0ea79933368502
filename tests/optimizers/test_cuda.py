"""Every method on a GPU: what it does on the CPU, to double precision's rounding."""

from copy import deepcopy

import pytest
import torch

from tests.optimizers.methods import (
    METHODS,
    SHAPES,
    build,
    class_of,
    clones,
    distance,
    give,
    same,
    step,
    tensors,
)

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU is here")
STEPS = 20
SQUARE = ((4, 4), (6, 6), (5,), ())  # its products have no null space, whose basis rounding chooses


@pytest.mark.parametrize("name", METHODS)
def test_as_on_the_cpu(name: str) -> None:
    shapes = SHAPES if class_of(name).continuous else SQUARE
    params = tensors(0, torch.float64, shapes)
    moved = [param.cuda() for param in params]
    here, there = build(name, params), build(name, moved)
    for seed in range(STEPS):
        grads = tensors(1000 + seed, torch.float64, shapes)
        give(params, grads)
        give(moved, [grad.cuda() for grad in grads])
        step(here)
        step(there)
    assert distance([param.cpu() for param in moved], params) < 1e-9


@pytest.mark.parametrize("name", METHODS)
def test_goes_on_from_its_state(name: str) -> None:
    params = [param.cuda() for param in tensors()]
    optimizer = build(name, params)
    grads = [[grad.cuda() for grad in tensors(1000 + seed)] for seed in range(6)]
    for drawn in grads[:3]:
        give(params, drawn)
        step(optimizer)
    others = clones(params)
    twin = build(name, others)
    twin.load_state_dict(deepcopy(optimizer.state_dict()))  # which shares its tensors
    for drawn in grads[3:]:
        for owner, own in ((optimizer, params), (twin, others)):
            give(own, drawn)
            step(owner)
    assert same(params, others)
    assert all(torch.isfinite(param).all() for param in params)
