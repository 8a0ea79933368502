"""SAM: two passes, the gradient of the second, and any method below it."""

from typing import Any

import pytest
import torch
from torch import Tensor

from src.optimizers import Momentum, Prodigy, ScheduleFreeSGD
from src.optimizers.sam import SharpnessAware
from src.training.loop import stepper, wants_closure
from tests.optimizers.methods import build, clones, give, same, settings_of, tensors
from tests.optimizers.test_properties import DOUBLE, near

BASES = {"sam": "momentum", "sam_adamw": "adamw"}
CURVATURE = torch.logspace(-1, 1, 6, dtype=DOUBLE)


class Averaged(SharpnessAware, ScheduleFreeSGD):
    settings = SharpnessAware.around(ScheduleFreeSGD)


class Estimating(SharpnessAware, Prodigy):
    settings = SharpnessAware.around(Prodigy)


def quadratic(params: list[Tensor], sign: float = 1.0) -> Tensor:
    return sign * sum(((param**2).sum() for param in params), torch.zeros((), dtype=DOUBLE)) / 2


def leaves() -> list[Tensor]:
    return [param.requires_grad_() for param in tensors(0, DOUBLE)]


def descend(
    optimizer: Any, params: list[Tensor], steps: int = 5, sign: float = 1.0
) -> list[Tensor]:
    step = stepper(optimizer, lambda: quadratic(params, sign))
    for _ in range(steps):
        step()
    return clones(params)


@pytest.mark.parametrize("name", BASES)
def test_without_a_radius_it_is_its_base(name: str) -> None:
    ours, theirs = leaves(), leaves()
    shared = {key: value for key, value in settings_of(name).items() if key != "rho"}
    shared |= {"lr": 0.1, "weight_decay": 0.1}
    plain = descend(build(BASES[name], theirs, **shared), theirs)
    assert same(descend(build(name, ours, rho=0.0, **shared), ours), plain)
    other = leaves()
    assert not same(descend(build(name, other, rho=0.1, **shared), other), plain)


def test_a_step_by_hand() -> None:
    """On ½·Σ a·w² the gradient at w + ρ·g/‖g‖ is g + ρ·a·g/‖g‖."""
    w = torch.linspace(1, 2, 6, dtype=DOUBLE).requires_grad_()
    start, seen = w.detach().clone(), list[Tensor]()

    def closure() -> Tensor:
        w.grad = None
        loss = (CURVATURE * w**2).sum() / 2
        loss.backward()
        seen.append(w.detach().clone())
        return loss.detach()

    loss = build("sam", [w], lr=0.1, rho=0.3, momentum=0.0).step(closure)
    grad = CURVATURE * start
    assert float(loss) == pytest.approx(float((CURVATURE * start**2).sum() / 2))
    assert len(seen) == 2
    assert near(seen[1:], [start + 0.3 * grad / grad.norm()])
    worst = grad + 0.3 * CURVATURE * grad / grad.norm()
    assert near([w.grad], [worst])  # type: ignore[list-item]
    assert near([w.detach()], [start - 0.1 * worst])


def test_the_norm_is_over_all_groups_and_each_has_its_radius() -> None:
    params = [torch.full((2,), 3.0, dtype=DOUBLE), torch.full((1,), 4.0, dtype=DOUBLE)]
    groups = [{"params": params[:1], "rho": 1.0}, {"params": params[1:], "rho": 0.5}]
    optimizer, seen = build("sam", groups), list[list[Tensor]]()

    def closure() -> float:
        seen.append(clones(params))
        return 0.0

    give(params, [torch.tensor([0.0, 3.0], dtype=DOUBLE), torch.tensor([4.0], dtype=DOUBLE)])
    optimizer.step(closure)
    expected = [torch.tensor([3.0, 3.6], dtype=DOUBLE), torch.tensor([4.4], dtype=DOUBLE)]
    assert near(seen[1], expected)


def test_climbing_goes_the_other_way_round() -> None:
    down, up = leaves(), leaves()
    settings = {"lr": 0.1, "rho": 0.5}
    minimum = descend(build("sam", down, **settings), down)
    maximum = descend(build("sam", up, maximize=True, **settings), up, sign=-1.0)
    assert near(minimum, maximum)


def test_a_second_pass_that_fails_leaves_the_weights() -> None:
    params, calls = leaves(), list[int]()
    optimizer = build("sam", params)

    def closure() -> Tensor:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        loss = quadratic(params)
        loss.backward()
        return loss

    with pytest.raises(KeyboardInterrupt):
        optimizer.step(closure)
    assert same(clones(params), tensors(0, DOUBLE))


def test_around_a_method_that_switches_and_one_that_couples() -> None:
    params = leaves()
    optimizer: Any = Averaged(params, lr=0.1, rho=0.05)
    assert wants_closure(optimizer)
    at_y = descend(optimizer, params)
    optimizer.eval()
    assert not same(clones(params), at_y)
    optimizer.train()
    assert same(clones(params), at_y)
    others = leaves()
    estimating: Any = Estimating(others)
    descend(estimating, others, steps=40)
    assert estimating.param_groups[0]["d"] > 1e-5


def test_hooks_run_once_though_the_base_has_had_some() -> None:
    base = Momentum(tensors())  # torch wraps the step of its class
    base.register_step_post_hook(lambda *_: None)
    params, seen = leaves(), list[str]()
    optimizer = build("sam", params)
    optimizer.register_step_post_hook(lambda *_: seen.append("after"))
    descend(optimizer, params, steps=2)
    assert seen == ["after"] * 2
