"""Optimizers that step at once leave the bits that each leaves alone."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from src.optimizers import LAMB, SAM, SGD, Adam, AdamW, Lion, Prodigy
from src.optimizers.at_once import Kernels, Rules, agree, kind, states_of
from src.optimizers.kernels import Fused, _adam
from src.optimizers.method import Method
from tests.optimizers.methods import METHODS, Settings, build, class_of, separable
from tests.optimizers.test_trials import trials

SHAPES = [(20, 30), (30, 20), (5, 7), (3, 2, 5), (3,), ()]
COUNT = 5
EVERY = [*range(COUNT)]
TOGETHER = [name for name in METHODS if separable(name) or class_of(name).rule.leads]


def several(
    name: str, settings: Sequence[Settings]
) -> tuple[list[Method], list[Tensor], list[list[nn.Parameter]]]:
    """Optimizers, their parameters in rows, and each one's own."""
    torch.manual_seed(0)
    rows = [torch.randn(len(settings), *shape) for shape in SHAPES]
    params = [[nn.Parameter(of_all[k]) for of_all in rows] for k in range(len(settings))]
    for own, *of_one in zip(params, *[each.unbind() for each in rows], strict=True):
        for param, row in zip(own, of_one, strict=True):
            param.data = row
        own[2].hidden = False  # type: ignore[attr-defined]  # as an embedding is
    made: Any = [build(name, own, **each) for own, each in zip(params, settings, strict=True)]
    return made, rows, params


def settings_of(name: str) -> list[Settings]:
    """Those of each; a rule of matrices takes one ε, and runs with several step alone."""
    one = {"eps": 1e-7} if class_of(name).rule.leads else {}
    return [{**each, **one} for each in trials(name, {}, COUNT)]


def drawn(step: int, count: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(step)
    return [torch.randn(count, *shape, generator=generator) for shape in SHAPES]


def alone(
    optimizers: Sequence[Method], params: list[list[nn.Parameter]], grads: list[Tensor]
) -> None:
    for k, (optimizer, own) in enumerate(zip(optimizers, params, strict=True)):
        for param, grad in zip(own, grads, strict=True):
            param.grad = grad[k].clone()
        optimizer.step()
        optimizer.zero_grad()


def at_once(optimizers: Sequence[Method], rows: list[Tensor]) -> Kernels | Rules:
    if type(optimizers[0]).kernel is not None and optimizers[0].param_groups[0]["fused"]:
        return Kernels(optimizers, range(len(optimizers)))
    groups = [each.param_groups[0] for each in optimizers]
    return Rules(optimizers, groups, states_of(optimizers), rows, range(len(optimizers)))


def assert_same(
    optimizers: Sequence[Method],
    others: Sequence[Method],
    params: list[list[nn.Parameter]],
    theirs: list[list[nn.Parameter]],
) -> None:
    for mine, other in zip(params, theirs, strict=True):
        assert all(map(torch.equal, mine, other))
    for one, other in zip(states_of(optimizers), states_of(others), strict=True):
        for state, expected in zip(one, other, strict=True):
            assert state.keys() == expected.keys()
            for key, value in expected.items():
                assert type(state[key]) is type(value)
                same = torch.equal if isinstance(value, Tensor) else float.__eq__
                assert same(
                    *(v if isinstance(v, Tensor) else float(v) for v in (state[key], value))
                )


@pytest.mark.parametrize("apart", [True, False], ids=["all differ", "all alike"])
@pytest.mark.parametrize("name", TOGETHER)
def test_the_same_bits(name: str, apart: bool) -> None:
    """With all of them, and with some; the states stay each one's own."""
    settings = settings_of(name)
    settings = (
        [
            {**each, "weight_decay": 0.1 * (k + 1)} if "weight_decay" in each else each
            for k, each in enumerate(settings)
        ]
        if apart
        else settings[:1] * COUNT
    )
    mine, rows, params = several(name, settings)
    others, _, theirs = several(name, settings)
    for step in range(2):
        alone(mine, params, drawn(step, COUNT))
        alone(others, theirs, drawn(step, COUNT))
    made = at_once(mine, rows)
    for step, members in enumerate([EVERY, [1, 3, 4], [0, 2], EVERY]):
        grads = drawn(9 + step, COUNT)
        for k in members:
            mine[k].param_groups[0]["lr"] *= 0.9
            others[k].param_groups[0]["lr"] *= 0.9
        made.step(members, grads)
        alone(
            [others[k] for k in members], [theirs[k] for k in members], [g[members] for g in grads]
        )
        assert_same(mine, others, params, theirs)
    alone(mine, params, drawn(20, COUNT))  # and each can go on alone
    alone(others, theirs, drawn(20, COUNT))
    assert_same(mine, others, params, theirs)


@pytest.mark.parametrize("name", TOGETHER)
def test_it_is_seen_that_they_agree(name: str) -> None:
    """And nothing has changed afterwards; a kernel isn't the rule to the bit."""
    settings = [
        {**each, "fused": False} if class_of(name).kernel else each for each in settings_of(name)
    ]
    mine, rows, params = several(name, settings)
    alone(mine, params, drawn(0, COUNT))
    before = [each.clone() for each in rows]
    kinds = {kind(each) for each in mine}
    assert None not in kinds
    some = [each for each in mine if kind(each) == kind(mine[0])]
    places = [mine.index(each) for each in some]
    grads = [each[places] for each in drawn(1, COUNT)]
    assert agree(some, rows, places, grads)
    assert all(map(torch.equal, rows, before))


class Largest(Lion):
    """A rule that says it is elementwise, and isn't: it looks at the largest element of all."""

    rule = replace(
        Lion.rule,
        direction=lambda grad, exp_avg, betas: exp_avg.lerp_(grad, 0.5) / exp_avg.abs().max(),
    )


class Counting(Lion):
    """Keeps count in its group, which a step at once would lose."""

    def update(self, param: Tensor, grad: Tensor, state: Any, group: Any) -> None:
        group["eta"] = group.get("eta", 0) + 1
        super().update(param, grad, state, group)


@pytest.mark.parametrize("cls", [Largest, Counting])
def test_what_does_not_agree_is_seen(cls: type[Method]) -> None:
    mine, rows, params = several("lion", [{}] * 3)
    mine = [cls(own) for own in params]
    alone(mine, params, drawn(0, 3))
    assert not agree(mine, rows, range(3), drawn(1, 3))


def params() -> list[nn.Parameter]:
    return [nn.Parameter(torch.ones(2, 2))]


class OwnStep(SGD):
    def step(self, closure: Any = None) -> Any:
        return super().step(closure)


class OwnUpdates(SGD):
    def update_all(self, *args: Any) -> None:
        super().update_all(*args)


@pytest.mark.parametrize(
    "optimizer",
    [
        torch.optim.SGD(params()),
        SAM(params()),
        Prodigy(params()),
        LAMB(params()),
        OwnStep(params()),
        OwnUpdates(params()),
        SGD(params(), lr=torch.tensor(0.1)),
        SGD([{"params": params()}, {"params": params()}]),
        Adam(params()),  # before its first step
    ],
    ids=lambda optimizer: type(optimizer).__name__,
)
def test_those_that_step_alone(optimizer: Any) -> None:
    assert kind(optimizer) is None


def test_hooks_are_called_by_the_optimizer_itself() -> None:
    optimizer = SGD(params())
    assert kind(optimizer) is not None
    optimizer.register_step_post_hook(lambda *args: None)
    assert kind(optimizer) is None


def test_kinds() -> None:
    """Numbers may differ; whether one is 0 may not, nor a flag, nor the method."""

    def of(cls: type[Method], **settings: Any) -> Any:
        (param,) = params()
        optimizer = cls([param], **settings)
        param.grad = torch.ones(2, 2)
        optimizer.step()
        return kind(optimizer)

    assert of(Adam) == of(Adam, lr=0.5, betas=(0.8, 0.9), eps=1e-4) != of(AdamW)
    assert of(Adam, weight_decay=0.1) == of(Adam, weight_decay=0.2) != of(Adam)
    assert of(Adam, maximize=True) != of(Adam) != of(Adam, fused=False)


def test_one_call_of_the_kernel_for_those_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    mine, _, params = several("adam", [{}, {"lr": 0.5}, {}])
    alone(mine, params, drawn(0, 3))
    calls, real = [], torch._fused_adam_

    def kernel(tensors: list[Tensor], *args: Any, **named: Any) -> None:
        calls.append(len(tensors))
        real(tensors, *args, **named)

    monkeypatch.setattr(Adam, "kernel", Fused(partial(_adam, kernel)))
    made = Kernels(mine, range(3))
    for seed in (1, 2):
        made.step(range(3), drawn(seed, 3))
    assert calls == 2 * [2 * len(SHAPES), len(SHAPES)]
    mine[2].param_groups[0]["lr"] = 0.7
    made.step(range(3), drawn(3, 3))
    assert calls[4:] == 3 * [len(SHAPES)]
