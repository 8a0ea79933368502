"""Small tasks that meet: who gets what in one pass, who is left alone, and what errors do."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from src.data import Split
from src.losses import CrossEntropy
from src.models import MLP
from src.optimizers import SGD, Adam
from src.shapes import Shapes
from src.training import together as module
from src.training.looks import Looks
from src.training.stack import Stack
from src.training.tape import NotStackedError
from src.training.together import Together

LOSS = CrossEntropy()
LOSS.bind(Shapes((4,), classes=2))
Batch = tuple[Tensor, Tensor]


def models(count: int) -> list[nn.Module]:
    made = []
    for seed in range(count):
        torch.manual_seed(seed)
        made.append(MLP(4, 2, (3,)))
    return made


def batches(seed: int, steps: int, size: int = 5) -> list[Batch]:
    draw = torch.Generator().manual_seed(seed)
    return [
        (torch.rand(size, 4, generator=draw), torch.randint(2, (size,), generator=draw))
        for _ in range(steps)
    ]


def loss_of(model: nn.Module) -> Callable[..., Tensor]:
    return lambda inputs, targets: F.cross_entropy(model(inputs), targets)


def alone(cls: Any, count: int, steps: int) -> list[tuple[list[float], list[Tensor]]]:
    found = []
    for seed, model in enumerate(models(count)):
        optimizer, losses = cls(model.parameters()), []
        for inputs, targets in batches(seed, steps):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(inputs), targets)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        found.append((losses, [*model.parameters()]))
    return found


def stepping(
    hub: Together[Any], model: nn.Module, optimizer: Any, drawn: list[Batch], quiet: bool = False
) -> list[float]:
    """A task: steps on batches; it returns the losses."""
    step = hub.stepper("kind", model, loss_of(model), optimizer, quiet=quiet)
    losses = []
    for batch in drawn:
        value = step(batch)
        losses.append(float(value.detach() if isinstance(value, Tensor) else value))
        assert all(param.grad is None for param in model.parameters())
    return losses


@pytest.mark.parametrize("cls", [SGD, Adam])
@pytest.mark.parametrize("count", [3, 4, 6])
def test_steps_are_each_ones_own(cls: Any, count: int) -> None:
    """Those of four and more are taken at once; of losses and weights no bit depends on it."""
    hub: Together[Any] = Together(8)
    mine = models(count)
    tasks = [
        partial(stepping, hub, model, cls(model.parameters()), batches(seed, 4))
        for seed, model in enumerate(mine)
    ]
    losses = [*hub.run(tasks)]
    for model, got, (expected, weights) in zip(mine, losses, alone(cls, count, 4), strict=True):
        assert got == expected
        assert all(map(torch.equal, model.parameters(), weights))
    assert [len(stack) for stack in hub.stacks.values()] == ([count] if count >= 4 else [])
    steps = [of for each in hub.steps.values() for of in each.several.values()]
    assert len(steps) == (1 if count >= 4 else 0)
    assert hub.why_alone("kind") is None


def test_gradients_are_left_with_the_model() -> None:
    """For an optimizer that takes its step itself."""
    hub: Together[Any] = Together(4)
    mine, twins = models(4), models(4)
    drawn = [batches(seed, 1)[0] for seed in range(4)]

    def task(at: int) -> float:
        value = hub.backward("kind", mine[at], loss_of(mine[at]), drawn[at])
        return float(value)

    found = [*hub.run([partial(task, at) for at in range(4)])]
    for model, twin, batch, loss in zip(mine, twins, drawn, found, strict=True):
        value = loss_of(twin)(*batch)
        value.backward()  # type: ignore[no-untyped-call]
        assert loss == value.item()
        for param, other in zip(model.parameters(), twin.parameters(), strict=True):
            assert param.grad is not None and other.grad is not None
            assert torch.equal(param.grad, other.grad)
    assert len(hub.stacks) == 1


def test_a_few_of_a_stack_go_on_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of eight are as quick in it; three of eight are made alone, too few for another."""
    made = list[int]()
    real = Stack.made

    def watched(self: Stack, wants: Any) -> Any:
        made.append(len(wants))
        return real(self, wants)

    monkeypatch.setattr(Stack, "made", watched)
    hub: Together[Any] = Together(8)
    lengths = [1, 1, 1, 1, 2, 3, 3, 3]
    tasks = [
        partial(stepping, hub, model, SGD(model.parameters()), batches(seed, steps))
        for (seed, model), steps in zip(enumerate(models(8)), lengths, strict=True)
    ]
    losses = [*hub.run(tasks)]
    assert sorted(map(len, losses)) == sorted(lengths)
    assert made == [8, 4]
    assert [len(stack) for stack in hub.stacks.values()] == [8]


def test_batches_of_another_shape_are_made_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """A last batch is smaller: of six, five are made at once and the sixth by itself."""
    hub: Together[Any] = Together(8)
    mine = models(6)
    tasks = [
        partial(stepping, hub, model, SGD(model.parameters()), batches(seed, 2, 3 if seed else 5))
        for seed, model in enumerate(mine)
    ]
    losses = [*hub.run(tasks)]
    assert len(hub.stacks["kind"].programs) == 1 and hub.why_alone("kind") is None
    twin = models(1)[0]
    assert losses[0][0] == loss_of(twin)(*batches(0, 2)[0]).item()


def test_models_of_another_kind_do_not_meet() -> None:
    hub: Together[Any] = Together(8)

    def task(model: nn.Module, kind: str, seed: int) -> float:
        return float(hub.backward(kind, model, loss_of(model), batches(seed, 1)[0]))

    made = models(8)
    tasks = [partial(task, model, "ab"[at % 2], at) for at, model in enumerate(made)]
    losses = [*hub.run(tasks)]
    assert {kind: len(stack) for kind, stack in hub.stacks.items()} == {"a": 4, "b": 4}
    right = {loss_of(m)(*batches(at, 1)[0]).item() for at, m in enumerate(models(8))}
    assert {*losses} == right


@pytest.mark.parametrize("error", [NotStackedError("it draws\n numbers"), ValueError("so")])
def test_what_cannot_be_made_at_once_is_made_alone(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """From then on, and nothing of the failed pass is left; what was in the way is told."""
    calls = list[int]()

    def fails(self: Stack, wants: Any) -> Any:
        calls.append(len(wants))
        for want in wants:
            for param in want.model.parameters():
                param.grad = torch.ones_like(param)
        raise error

    monkeypatch.setattr(Stack, "made", fails)
    hub: Together[Any] = Together(8)
    tasks = [
        partial(stepping, hub, model, SGD(model.parameters()), batches(seed, 3))
        for seed, model in enumerate(models(4))
    ]
    assert [*hub.run(tasks)] == [losses for losses, _ in alone(SGD, 4, 3)]
    assert calls == [4]
    assert hub.why_alone("kind") == " ".join(str(error).split())
    assert hub.why_alone("another") is None


@pytest.mark.parametrize("stays", [True, False])
def test_an_error_after_a_pass_that_was_made(monkeypatch: pytest.MonkeyPatch, stays: bool) -> None:
    """Some may have taken their step, so nobody may take it again; where it is sure that nobody
    has, each goes on alone."""
    real, calls = Stack.made, list[int]()

    def second(self: Stack, wants: Any) -> Any:
        calls.append(len(wants))
        if len(calls) == 2:
            raise NotStackedError("not to the bit") if stays else RuntimeError("no memory")
        return real(self, wants)

    monkeypatch.setattr(Stack, "made", second)
    hub: Together[Any] = Together(8)
    tasks = [
        partial(stepping, hub, model, SGD(model.parameters()), batches(seed, 3))
        for seed, model in enumerate(models(4))
    ]
    if not stays:
        with pytest.raises(RuntimeError, match="no memory"):
            [*hub.run(tasks)]
        return
    assert [*hub.run(tasks)] == [losses for losses, _ in alone(SGD, 4, 3)]
    assert hub.why_alone("kind") == "not to the bit" and len(calls) == 2


def looking(hub: Together[Any], model: nn.Module, data: Split, first: bool) -> dict[str, float]:
    """A task: a step, so that there is a stack, and a look at a set."""
    if first:
        hub.backward("kind", model, loss_of(model), batches(0, 1)[0])
    return hub.evaluate("kind", model, LOSS, data)


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """How many were evaluated in each pass."""
    real, seen = Looks.means, list[int]()

    def means(self: Looks, looks: Any) -> Any:
        seen.append(len(looks))
        return real(self, looks)

    monkeypatch.setattr(Looks, "means", means)
    yield seen


def split(seed: int, size: int = 7) -> Split:
    (batch,) = batches(seed, 1, size)
    return Split(*batch)


def test_models_of_a_stack_are_evaluated_at_once(looked: list[int]) -> None:
    """All numbers are those that each gives alone; where there is no stack, each is alone."""
    data = split(1)
    for first in (True, False):
        hub: Together[Any] = Together(8)
        found = [*hub.run([partial(looking, hub, model, data, first) for model in models(4)])]
        assert found == [module.Look(model, LOSS, data).alone() for model in models(4)]
    assert looked == [4]


def test_few_of_a_stack_are_evaluated_alone(looked: list[int]) -> None:
    """Three of eight; half of eight are evaluated at once. Each set by itself."""
    one, other = split(1), split(2)

    def task(hub: Together[Any], model: nn.Module, data: Split | None) -> Any:
        hub.backward("kind", model, loss_of(model), batches(0, 1)[0])
        return data and hub.evaluate("kind", model, LOSS, data)

    for several, seen in (
        ([one] * 3 + [None] * 5, []),
        ([one] * 4 + [None] * 4, [4]),
        ([one, other] * 4, [4, 4]),
    ):
        looked.clear()
        hub: Together[Any] = Together(8)
        made = [partial(task, hub, m, data) for m, data in zip(models(8), several, strict=True)]
        found = [each for each in hub.run(made) if each]
        expected = [module.Look(m, LOSS, data).alone()
                    for m, data in zip(models(8), several, strict=True) if data]  # fmt: skip
        assert sorted(map(repr, found)) == sorted(map(repr, expected))
        assert looked == seen


def test_what_cannot_be_evaluated_at_once_is_not_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of that set; another is."""
    seen, one, other = list[Any](), split(1), split(2)

    def means(self: Looks, looks: Any) -> Any:
        seen.append(looks[0].data)
        raise ValueError("so")

    monkeypatch.setattr(Looks, "means", means)
    hub: Together[Any] = Together(8)

    def task(model: nn.Module) -> list[Any]:
        hub.backward("kind", model, loss_of(model), batches(0, 1)[0])
        return [hub.evaluate("kind", model, LOSS, data) for data in (one, one, other)]

    found = [*hub.run([partial(task, model) for model in models(4)])]
    for model, got in zip(models(4), found, strict=True):
        expected = [module.Look(model, LOSS, data).alone() for data in (one, other)]
        assert got == [expected[0], expected[0], expected[1]]
    assert seen == [one, other]


def test_a_step_waits_until_all_have_looked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is evaluated meanwhile steps with the others afterwards, not after them."""
    made, real = list[int](), Stack.made

    def watched(self: Stack, wants: Any) -> Any:
        made.append(len(wants))
        return real(self, wants)

    monkeypatch.setattr(Stack, "made", watched)
    hub: Together[Any] = Together(8)
    data = split(1)

    def task(model: nn.Module, looks: bool) -> None:
        if looks:
            hub.evaluate("kind", model, LOSS, data)
        hub.backward("kind", model, loss_of(model), batches(0, 1)[0])

    [*hub.run([partial(task, model, at < 2) for at, model in enumerate(models(6))])]
    assert made == [6]


def test_each_finds_torchs_generator_and_one_thread_as_it_left_them() -> None:
    hub: Together[Any] = Together(8)
    data, threads = split(1), torch.get_num_threads()

    def task(model: nn.Module, seed: int) -> list[float]:
        torch.manual_seed(seed)
        drawn = []
        for _ in range(3):
            drawn.append(torch.rand(()).item())
            torch.set_num_threads(3)  # as another run beside it may
            hub.evaluate("kind", model, LOSS, data)
            assert torch.get_num_threads() == 1
        return drawn

    try:
        found = [*hub.run([partial(task, model, at) for at, model in enumerate(models(3))])]
    finally:
        torch.set_num_threads(threads)
    for seed, drawn in enumerate(found):
        torch.manual_seed(seed)
        assert drawn == [torch.rand(()).item() for _ in range(3)]
    assert not hub.generators, "nothing is kept of those that have ended"


def test_what_is_made_for_several_has_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also after a run beside them that has more, and that began and ended last."""
    used, real, threads = list[int](), Stack.made, torch.get_num_threads()

    def made(stack: Stack, wants: Any) -> Any:
        used.append(torch.get_num_threads())
        return real(stack, wants)

    monkeypatch.setattr(Stack, "made", made)
    hub: Together[Any] = Together(5)
    tasks = [
        partial(hub.backward, "kind", model, loss_of(model), batches(0, 1)[0])
        for model in models(4)
    ]
    try:
        [*hub.run([*tasks, partial(torch.set_num_threads, 3)])]
    finally:
        torch.set_num_threads(threads)
    assert used == [1]


@pytest.mark.parametrize("quiet", [True, False])
def test_what_a_run_draws_after_its_steps_is_its_own(quiet: bool) -> None:
    """A quiet one gets torch's generator back when it has wanted something else."""
    hub: Together[Any] = Together(4)
    data = split(1)

    def task(model: nn.Module, seed: int) -> list[float]:
        torch.manual_seed(seed)
        drawn = [torch.rand(()).item()]
        for _ in range(2):
            stepping(hub, model, SGD(model.parameters()), batches(seed, 5), quiet)
            if quiet:
                hub.evaluate("kind", model, LOSS, data)
            drawn.append(torch.rand(()).item())
        return drawn

    found = [*hub.run([partial(task, model, at) for at, model in enumerate(models(4))])]
    for seed, drawn in enumerate(found):
        torch.manual_seed(seed)
        assert drawn == [torch.rand(()).item() for _ in range(3)]


@pytest.mark.parametrize("size", [1, 2, 5])
def test_no_more_are_under_way_than_there_is_room_for(size: int) -> None:
    hub: Together[Any] = Together(size)
    (model,), data = models(1), split(1)
    begun, most = list[int](), list[int]()

    def task(at: int) -> int:
        begun.append(at)
        for _ in range(at % 3):
            most.append(len(begun))
            hub.evaluate("kind", model, LOSS, data)
        begun.remove(at)
        return at

    assert sorted(hub.run([partial(task, at) for at in range(9)])) == [*range(9)]
    assert max(most) == size


def test_an_error_ends_those_that_wait() -> None:
    """Each is told as by Ctrl-C, once, and may clear up; whoever goes on notwithstanding, too."""
    hub: Together[Any] = Together(8)
    (model,), data, told = models(1), split(1), list[int]()

    def waits(at: int) -> None:
        try:
            hub.evaluate("kind", model, LOSS, data)
        except KeyboardInterrupt:
            told.append(at)
            if at:
                raise

    def fails() -> None:
        raise ValueError("broke")

    with pytest.raises(ValueError, match="broke"):
        [*hub.run([partial(waits, 0), partial(waits, 1), partial(waits, 2), fails])]
    assert told == [0, 1, 2] and not hub.waiting
