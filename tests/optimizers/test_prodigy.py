"""Prodigy: one estimate for all parameters, which never shrinks."""

from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from src.training.loop import stepper
from tests.optimizers.methods import build, give, run, tensors
from tests.optimizers.test_properties import DOUBLE, near, path, random


def shrink(optimizer: Any, params: list[Tensor], steps: int) -> None:
    """Descend on half the sum of squares."""
    for _ in range(steps):
        give(params, params)
        optimizer.step()


def test_d_never_shrinks() -> None:
    params = tensors(0, DOUBLE)
    optimizer, seen = build("prodigy", params), [0.0]
    for seed in range(60):
        run(optimizer, params, [seed], scale=10.0 ** (seed % 5 - 2))
        seen.append(optimizer.param_groups[0]["d"])
    assert seen[1] == 1e-6  # there is nothing to go by before the first step
    assert all(after >= before for before, after in pairwise(seen))
    assert seen[-1] > 1e-5


def test_d_comes_near_the_distance() -> None:
    """From 100 away, on |x|, whatever it begins with; its theory says d is at most the distance."""
    for d0 in (1e-6, 1e-2):
        x = torch.full((1,), 100.0, dtype=DOUBLE).requires_grad_()
        optimizer = build("prodigy", [x], d0=d0)
        step = stepper(optimizer, lambda x=x: x.abs().sum())
        for _ in range(600):
            step()
        assert 10 < optimizer.param_groups[0]["d"] <= 100
        assert abs(float(x.detach())) < 100


@pytest.mark.parametrize("transposed", [False, True])
def test_a_large_parameter_is_summed_in_pieces(
    monkeypatch: pytest.MonkeyPatch, transposed: bool
) -> None:
    """It moves as it does whole, but for the order of the sums; and so where memory isn't alike."""
    after = []
    for size in (10**6, 7):
        monkeypatch.setattr("src.optimizers.method.BLOCK", size)
        start = torch.linspace(-1, 1, 60, dtype=DOUBLE).view(6, 10)
        params = [start.t() if transposed else start]
        optimizer = build("prodigy", params, d0=0.01)
        run(optimizer, params, range(30))
        after.append((params[0], optimizer.param_groups[0]["d"]))
    (whole, d), (pieces, same_d) = after
    assert d > 0.01
    assert same_d == pytest.approx(d, rel=1e-12)
    assert torch.allclose(whole, pieces, rtol=1e-12, atol=0)


def test_with_a_fixed_d_it_is_adam() -> None:
    fixed = {"d0": 0.25, "d_coef": 0.0, "use_bias_correction": True, "eps": 1e-30}
    ours = path("prodigy", random(), lr=0.2, **fixed)
    theirs = path("adam", random(), lr=0.05, eps=1e-30)
    assert all(near(x, y) for x, y in zip(ours, theirs, strict=True))


def test_groups_share_d_and_have_their_own_rates() -> None:
    whole, parts = tensors(0, DOUBLE), tensors(0, DOUBLE)
    ours = build("prodigy", [{"params": parts[:2]}, {"params": parts[2:]}])
    other = build("prodigy", whole)
    shrink(ours, parts, 30)
    shrink(other, whole, 30)
    assert near(parts, whole)
    assert other.param_groups[0]["d"] > 1e-5
    late = tensors(3, DOUBLE, [(4,)])
    ours.add_param_group({"params": late, "lr": 0.0})
    shrink(ours, [*parts, *late], 1)
    shrink(other, whole, 1)
    assert len({group["d"] for group in ours.param_groups}) == 1
    assert near(late, tensors(3, DOUBLE, [(4,)]))  # its rate is 0
    assert near(parts, whole)


def test_weights_decay_by_d() -> None:
    params, start = tensors(0, DOUBLE), tensors(0, DOUBLE)
    optimizer = build("prodigy", params, d0=0.5, lr=0.2, weight_decay=0.3)
    give(params, [torch.zeros_like(param) for param in params])
    for _ in range(3):
        optimizer.step()
    assert near(params, [param * (1 - 0.3 * 0.2 * 0.5) ** 3 for param in start])


def test_an_estimate_that_overflows_is_passed_over() -> None:
    param = torch.full((3,), 2.0)
    optimizer = build("prodigy", [param], d0=1.0)
    for size in (1e30, -1e38, 1.0, 1.0):
        give([param], [torch.full((3,), size)])
        optimizer.step()
        d, top = (optimizer.param_groups[0][key] for key in ("d", "numerator"))
        assert 1.0 <= d < float("inf")
        assert abs(top) < float("inf")
