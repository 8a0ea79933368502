"""When optimizers may step at once: what counts as the same, and what is told by it."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from src.optimizers import SGD, Adam, Lion
from src.optimizers import at_once as module
from src.optimizers.at_once import Kernels, Rules, agree, counted, kind, states_of
from tests.optimizers.test_at_once import alone, drawn, params, several


class Flat(Lion):
    """A rule that bears no further axis."""

    rule = replace(
        Lion.rule,
        direction=lambda grad, exp_avg, betas: exp_avg.lerp_(grad, betas[1]).view(grad.shape[:2]),
    )


class Refusing(Lion):
    def update_all(self, params: Any, grads: Any, *more: Any) -> None:
        if grads[0].dim() > 2:
            raise ValueError("two axes at most")
        super().update_all(params, grads, *more)


@pytest.mark.parametrize("cls", [Flat, Refusing])
def test_what_raises_on_the_rows_steps_alone(cls: Any) -> None:
    """And nothing has changed."""
    _, rows, own = several("lion", [{}] * 3)
    mine = [cls(each[:1]) for each in own]
    alone(mine, [each[:1] for each in own], drawn(0, 3)[:1])
    before = [each.clone() for each in rows]
    states = [{k: v.clone() for k, v in each.state[each.param_groups[0]["params"][0]].items()}
              for each in mine]  # fmt: skip
    assert not agree(mine, rows[:1], range(3), drawn(1, 3)[:1])
    assert all(map(torch.equal, rows, before))
    for each, state in zip(mine, states, strict=True):
        now = each.state[each.param_groups[0]["params"][0]]
        assert all(torch.equal(now[name], value) for name, value in state.items())


class Chance(Lion):
    """Gives other bits for large numbers only: those at hand are small."""

    rule = replace(
        Lion.rule,
        direction=lambda grad, exp_avg, betas: (
            exp_avg.lerp_(grad, betas[1]) * (1 + (grad.dim() > 2) * (grad.abs() > 0.5))
        ),
    )


def test_other_numbers_are_tried_too() -> None:
    _, rows, own = several("lion", [{}] * 3)
    mine = [Chance(each[:1]) for each in own]
    small = [0.01 * each.clamp(-1, 1) for each in drawn(0, 3)[:1]]
    alone(mine, [each[:1] for each in own], small)
    assert not agree(mine, rows[:1], range(3), small)


def test_a_step_at_once_is_a_change_that_autograd_sees() -> None:
    """A graph that was made before must not be run backwards with the weights of after."""
    mine, _, own = several("adam", [{}] * 3)
    alone(mine, own, drawn(0, 3))
    made = Kernels(mine, range(3))
    before = [[param._version for param in each] for each in own]
    made.step([0, 2], drawn(1, 3))
    for at in (0, 2):
        assert all(param._version > was for param, was in zip(own[at], before[at], strict=True))
    (x,) = params()
    loss = (own[0][0] * own[0][0]).sum() + x.sum()
    made.step([0], drawn(2, 3))
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()  # type: ignore[no-untyped-call]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (1, 1, True),
        (1, 1.0, False),
        (1, True, False),
        (0.5, 0.25, False),
        (float("nan"), float("nan"), True),
        (float("nan"), 1.0, False),
        (1.0, float("nan"), False),
        (torch.tensor([1.0]), torch.tensor([1.0]), True),
        (torch.tensor([1.0, 2.0]), torch.tensor([1.0, 3.0]), False),
        (torch.tensor([float("nan"), 2.0]), torch.tensor([float("nan"), 2.0]), True),
        (torch.tensor([float("nan"), 2.0]), torch.tensor([1.0, 2.0]), False),
        (torch.tensor(1.0), 1.0, False),
        (1.0, torch.tensor(1.0), False),
    ],
)
def test_the_same_bits(one: Any, other: Any, same: bool) -> None:
    assert module._same(one, other) is same


def test_members_are_told_apart_by_what_they_count() -> None:
    """A tensor and a number that isn't whole are no counts; neither is a flag."""
    states: list[dict[str, Any]] = [
        {"step": 1, "m": torch.zeros(1)}, {"step": 2}, {"step": 1, "d": 0.5},
        {"step": 1, "f": True},
    ]  # fmt: skip
    assert counted([[each] for each in states], [4, 5, 6, 7]) == [[4, 6, 7], [5]]
    second = [[{}, {"step": 1}], [{}, {"step": 2}], [{}, {"step": 1}]]  # as Muon's vectors alone
    assert counted(second, [0, 1, 2]) == [[0, 2], [1]]


def of(cls: Any, *own: Tensor, **settings: Any) -> Any:
    return kind(cls(own, **settings))


def test_a_kind_holds_all_settings_but_the_learning_rate() -> None:
    """Whether a number is 0 may not differ, in a pair of numbers neither."""
    assert of(SGD, *params()) == of(SGD, *params(), lr=3.0) is not None
    assert of(SGD, *params(), weight_decay=0.1) != of(SGD, *params())
    (param,) = params()

    def stepped(**settings: Any) -> Any:
        optimizer = Adam([param], **settings)
        param.grad = torch.ones(2, 2)
        optimizer.step()
        return kind(optimizer)

    assert stepped(betas=(0.9, 0.99)) == stepped(betas=(0.5, 0.9)) != stepped(betas=(0.0, 0.99))
    assert stepped(lr=0.0) == stepped()


def test_one_whose_state_is_not_there_yet_steps_alone() -> None:
    """Of some parameters: one without a gradient in its first step."""
    first, second = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    optimizer = Adam([first, second])
    first.grad = torch.ones(2)
    optimizer.step()
    assert kind(optimizer) is None
    second.grad = torch.ones(2)
    optimizer.step()
    assert kind(optimizer) is not None


class Whole(SGD):
    """Its rule looks at all elements at once, and says so."""

    rule = replace(SGD.rule, elementwise=False)


def test_what_looks_at_a_whole_tensor_steps_alone() -> None:
    assert of(Whole, *params()) is None and of(SGD, *params()) is not None


@pytest.mark.parametrize(
    ("rows", "places"),
    [([0, 1, 2], None), ([1, 2, 0], [1, 2, 0]), ([0, 2, 1], [0, 2, 1]), ([0, 1], [0, 1]),
     ([2, 1], [2, 1])],
)  # fmt: skip
def test_which_rows_are_all_in_order(rows: list[int], places: list[int] | None) -> None:
    found = module._places(rows, torch.zeros(3))
    assert found is None if places is None else found is not None and found.tolist() == places


def test_members_may_come_in_any_order() -> None:
    """As runs come back to where they meet."""
    mine, rows, own = several("lion", [{"lr": 0.1}, {"lr": 0.2}, {"lr": 0.3}])
    others, _, theirs = several("lion", [{"lr": 0.1}, {"lr": 0.2}, {"lr": 0.3}])
    alone(mine, own, drawn(0, 3))
    alone(others, theirs, drawn(0, 3))
    groups = [each.param_groups[0] for each in mine]
    made = Rules(mine, groups, states_of(mine), rows, range(3))
    grads = drawn(1, 3)
    for members in ([2, 0, 1], [1, 0], [2]):
        made.step(members, grads)
        alone([others[k] for k in members], [theirs[k] for k in members],
              [grad[members] for grad in grads])  # fmt: skip
    for one, other in zip(own, theirs, strict=True):
        assert all(map(torch.equal, one, other))
