"""Which of several optimizers step at once."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from src.models import MLP
from src.optimizers import SGD, Adam, Lion
from src.training.stack import Stack
from src.training.steps import Steps
from src.training.tape import Want


def wanting(cls: Any, count: int, **settings: Any) -> list[Want]:
    """Models whose optimizers have taken a step."""
    wants = []
    for seed in range(count):
        torch.manual_seed(seed)
        model = MLP(4, 2, (3,))
        wants.append(Want(model, model, (), cls(model.parameters(), **settings)))
    return wants


def step(wants: list[Want]) -> None:
    for want in wants:
        for param in want.model.parameters():
            param.grad = torch.ones_like(param)
        want.optimizer.step()


def drawn(stack: Stack) -> list[Tensor]:
    return [torch.randn(each.shape) for each in stack.own]


def together(wants: list[Want]) -> tuple[Stack, Steps]:
    stack = Stack([want.model for want in wants])
    return stack, Steps(stack, {})


def test_the_first_step_is_each_ones_own() -> None:
    """It makes the state; a method without one needs none."""
    wants = [*wanting(Adam, 2), *wanting(SGD, 2), *wanting(Lion, 2)]
    stack, steps = together(wants)
    assert steps.step(wants, drawn(stack)) == [False, False, True, True, False, False]
    step(wants)
    assert steps.step(wants, drawn(stack)) == [True] * 6
    assert len(steps.several) == 3


def test_what_counts_differently_steps_apart() -> None:
    wants = wanting(Lion, 2) + wanting(Lion, 1)
    ahead = wanting(torch.optim.SGD, 1)
    counting = wanting(Adam, 5, fused=False)
    wants = [*wants, *ahead, *counting]
    step(wants)
    step(counting[:2])
    stack, steps = together(wants)
    before = [each.clone() for each in stack.own]
    assert steps.step(wants, drawn(stack)) == [True] * 3 + [False] + [True] * 5
    assert torch.equal(stack.own[0][3], before[0][3])
    assert [want.optimizer.state[want.model.layers[1].weight]["step"] for want in counting] == [
        *[3, 3, 2, 2, 2]
    ]


class Largest(Lion):
    """Says that it is elementwise, and isn't."""

    rule = replace(
        Lion.rule,
        direction=lambda grad, exp_avg, betas: exp_avg.lerp_(grad, 0.5) / exp_avg.abs().max(),
    )


def test_what_gives_other_bits_steps_alone() -> None:
    wants = wanting(Largest, 3)
    step(wants)
    stack, steps = together(wants)
    before = [each.clone() for each in stack.own]
    assert steps.step(wants, drawn(stack)) == [False] * 3
    assert [*steps.agreed.values()] == [False]
    assert all(map(torch.equal, stack.own, before))


def test_another_that_comes_joins() -> None:
    wants = wanting(Lion, 4)
    step(wants)
    stack, steps = together(wants)
    assert steps.step(wants[:3], drawn(stack)) == [True] * 3
    (first,) = steps.several.values()
    step(wants[3:])
    assert steps.step(wants, drawn(stack)) == [True] * 4
    (second,) = steps.several.values()
    assert steps.step(wants[:2], drawn(stack)) == [True] * 2
    assert first is not second and [*steps.several.values()] == [second]
    assert steps.step(wants[:1], drawn(stack)) == [False]
