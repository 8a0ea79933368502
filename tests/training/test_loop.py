"""The loop: where rows fall, what they hold, and that it is plain training."""

import math
import time
from collections.abc import Callable
from functools import partial
from itertools import islice, pairwise
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from src.data import Batches, Split, permutation
from src.losses import MSE, CrossEntropy
from src.models import MLP
from src.shapes import Shapes
from src.training.loop import Position, Row, outputs_of, stepper, train, training_loss
from src.training.schedules import Constant, Cosine, Linear, Step
from tests.helpers import TIMES


def data(size: int) -> Split:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(size, 1, 1, 2, generator=generator)
    return Split(inputs, (inputs[:, 0, 0, 0] > 0).long())


LOSS = CrossEntropy()
LOSS.bind(Shapes((1, 1, 2), classes=2))


def rows(size: int, evaluate: Any = dict, **changes: Any) -> list[Row]:
    torch.manual_seed(0)
    model = MLP(2, 2, [3])
    settings = {"seed": 0, "epochs": 1, "evaluate_every": 10_000, **changes}
    batches = Batches(data(size), settings.pop("batch_size", 64))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    rate = lambda step: 1.0  # noqa: E731
    return list(train(model, LOSS, optimizer, rate, batches, evaluate, Position(), **settings))


def test_the_tutorials_rows() -> None:
    """The original's counter of samples, restarted with each epoch."""
    got = rows(60_000, epochs=2)
    falls = [10_048, 20_032, 30_016, 40_000, 50_048, 60_000]
    assert [row["sample_in_epoch"] for row in got] == falls * 2
    assert [row["epoch"] for row in got] == [1] * 6 + [2] * 6
    assert [row["samples"] for row in got] == falls + [60_000 + fall for fall in falls]
    assert [row["step"] for row in got][5::6] == [938, 1876]


@pytest.mark.parametrize(
    ("size", "batch_size", "evaluate_every", "falls"),
    [
        (1000, 100, 10_000, [1000]),  # small data: once an epoch
        (1000, 100, 1000, [1000]),  # no second row at the epoch's end
        (1000, 100, 300, [300, 600, 900, 1000]),
        (1000, 64, 500, [512, 1000]),
        (70, 32, 32, [32, 64, 70]),
        (10, 10, 1, [10]),
        (7, 1, 3, [3, 6, 7]),
    ],
)
def test_rows(size: int, batch_size: int, evaluate_every: int, falls: list[int]) -> None:
    got = rows(size, batch_size=batch_size, evaluate_every=evaluate_every, epochs=2)
    assert [row["sample_in_epoch"] for row in got] == falls * 2


def test_is_plain_training() -> None:
    torch.manual_seed(0)
    model, set_ = MLP(2, 2, [3]), data(70)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    losses = []
    for epoch in (1, 2):
        order = permutation(70, 5, epoch)
        for start in range(0, 70, 32):
            take = order[start : start + 32]
            optimizer.zero_grad()
            loss = F.cross_entropy(model(set_.inputs[take]), set_.targets[take])
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    got = rows(70, seed=5, epochs=2, batch_size=32, evaluate_every=1)
    assert [row["batch_loss"] for row in got] == losses


def test_the_clock_stands_still_during_evaluation() -> None:
    def slow() -> dict[str, float]:
        time.sleep(0.2)
        return {"val_loss": 1.0}

    began = time.perf_counter()
    *_, last = rows(300, slow, evaluate_every=64)
    assert last["wall_seconds"] <= time.perf_counter() - began
    assert last["wall_seconds"] > 1.0
    assert last["train_seconds"] < last["wall_seconds"] - 0.9
    assert last["val_loss"] == 1.0


def test_tick_is_told_of_every_batch() -> None:
    seen: list[int] = []
    rows(70, batch_size=32, epochs=2, tick=lambda samples, loss: seen.append(samples))
    assert seen == [32, 64, 70, 102, 134, 140]


class Shift(nn.Module):
    """The gradient of its loss is 1: it is sure of the wrong one of two classes."""

    def __init__(self) -> None:
        super().__init__()
        self.offset = nn.Parameter(torch.zeros(()))

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.cat([-100 - self.offset + inputs, inputs], dim=1)


SCHEDULES: dict[str, tuple[Constant, Callable[[int], float]]] = {  # of 12 steps, and its formula
    "constant": (Constant(12), lambda step: 1.0),
    "warm-up": (Constant(12, 3), lambda step: min((step + 1) / 3, 1.0)),
    "cosine": (Cosine(12), lambda step: (1 + math.cos(math.pi * step / 12)) / 2),
    "linear": (
        Linear(12, 2, end_factor=0.5),
        lambda step: (0.5, 1.0)[step] if step < 2 else 1 - 0.5 * (step - 2) / 10,
    ),
    "step": (Step(12, step_size=5, gamma=0.5), lambda step: (1.0, 0.5, 0.25)[step // 5]),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_rate_of_each_step(name: str) -> None:
    """As the rows tell it, and as far as the step goes."""
    schedule, factor = SCHEDULES[name]
    model, offsets = Shift(), [0.0]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)

    def evaluate() -> dict[str, float]:
        offsets.append(model.offset.item())
        return {}

    wrong = Split(torch.zeros(6, 1), torch.zeros(6, dtype=torch.int64))
    settings = {"seed": 0, "epochs": 4, "evaluate_every": 1}
    batches = Batches(wrong, 2)
    got = list(train(model, LOSS, optimizer, schedule, batches, evaluate, Position(), **settings))
    rates = [0.5 * factor(step) for step in range(12)]
    assert [row["lr"] for row in got] == pytest.approx(rates, rel=1e-12)
    assert [old - new for old, new in pairwise(offsets)] == pytest.approx(rates, rel=1e-3)


@pytest.mark.parametrize("stop", range(9))
def test_goes_on_from_any_row(stop: int) -> None:
    """The position, the weights and the optimizer are all that a loop needs."""

    def begin(at: Position, model: nn.Module, optimizer: torch.optim.Optimizer) -> Any:
        settings = {"seed": 5, "epochs": 3, "evaluate_every": 30}
        rate = Constant(100, warmup_steps=9)
        return train(model, LOSS, optimizer, rate, Batches(data(70), 20), dict, at, **settings)

    def parts() -> tuple[nn.Module, torch.optim.Optimizer]:
        torch.manual_seed(0)
        model = MLP(2, 2, [3])
        return model, torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9)

    def timeless(row: Row) -> Row:
        return {key: value for key, value in row.items() if key not in TIMES}

    whole = [timeless(row) for row in begin(Position(), *parts())]
    assert [row["samples"] for row in whole] == [40, 60, 70, 110, 130, 140, 180, 200, 210]
    at, (model, optimizer) = Position(), parts()
    first = [timeless(row) for row in islice(begin(at, model, optimizer), stop)]
    second = [timeless(row) for row in begin(at, model, optimizer)]
    assert first + second == whole


def test_the_clocks_go_on() -> None:
    torch.manual_seed(0)
    model, at = MLP(2, 2, [3]), Position(train_seconds=100.0, wall_seconds=200.0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    settings = {"seed": 0, "epochs": 1, "evaluate_every": 1}
    batches = Batches(data(70), 35)
    got = list(train(model, LOSS, optimizer, Constant(2), batches, dict, at, **settings))
    for clock, start in (("train_seconds", 100), ("wall_seconds", 200)):
        assert start < got[0][clock] < got[1][clock] < start + 60


def gradients_seen(clip_norm: float | None, accumulate: int, size: int = 7) -> tuple[Any, Any]:
    """The loss that a step returns, and the gradients that the optimizer found."""
    torch.manual_seed(0)
    model, batch = MLP(2, 2, [3]), data(size)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    seen: list[Tensor] = []
    optimizer.register_step_pre_hook(
        lambda *rest: seen.extend(param.grad.clone() for param in model.parameters())  # type: ignore[union-attr]
    )
    step = stepper(optimizer, partial(training_loss, model, LOSS), clip_norm, accumulate)
    return step(batch.inputs, batch.targets), seen


@pytest.mark.parametrize("parts", [2, 3, 7, 50])
def test_parts_of_a_batch_make_its_step(parts: int) -> None:
    """Though they are of unequal sizes, and there may be more parts than samples."""
    (loss, whole), (added, got) = gradients_seen(None, 1), gradients_seen(None, parts)
    torch.testing.assert_close(added, loss.detach())
    torch.testing.assert_close(got, whole)


def test_a_step_without_a_setting_is_plain_torch() -> None:
    """To the bit."""
    loss, got = gradients_seen(None, 1)
    torch.manual_seed(0)
    model, batch = MLP(2, 2, [3]), data(7)
    expected = F.cross_entropy(model(batch.inputs), batch.targets)
    assert torch.equal(loss, expected)
    plain = torch.autograd.grad(expected, list(model.parameters()))
    assert all(torch.equal(one, other) for one, other in zip(got, plain, strict=True))


@pytest.mark.parametrize("parts", [1, 3])
def test_gradients_are_clipped_by_the_norm_of_all_together(parts: int) -> None:
    _, whole = gradients_seen(None, 1)
    norm = torch.cat([grad.flatten() for grad in whole]).norm()
    _, got = gradients_seen(float(norm) / 4, parts)
    torch.testing.assert_close(got, [grad / 4 for grad in whole], rtol=1e-4, atol=1e-6)
    _, got = gradients_seen(float(norm) * 4, parts)
    torch.testing.assert_close(got, whole)


class Flat(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 6)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.layer(inputs.flatten(1))
        return outputs


def test_a_model_may_give_its_outputs_flat() -> None:
    """They are taken for the shape that the loss needs, and never for another's."""
    loss, model, inputs = MSE(), Flat(), torch.randn(5, 1, 2)
    loss.bind(Shapes((1, 2), (2, 3)))
    outputs = outputs_of(model, loss, inputs)
    assert outputs.shape == (5, 2, 3)
    assert torch.equal(outputs.flatten(1), model(inputs))
    one = MSE()
    one.bind(Shapes((1, 2)))
    assert outputs_of(nn.Sequential(nn.Flatten(), nn.Linear(2, 1)), one, inputs).shape == (5,)


@pytest.mark.parametrize(("drop", "falls"), [(False, [32, 64, 70]), (True, [32, 64])])
def test_an_epoch_ends_where_its_batches_do(drop: bool, falls: list[int]) -> None:
    torch.manual_seed(0)
    model, at = MLP(2, 2, [3]), Position()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    batches = Batches(data(70), 32, drop_last=drop)
    settings = {"seed": 0, "epochs": 2, "evaluate_every": 32}
    got = list(train(model, LOSS, optimizer, Constant(9), batches, dict, at, **settings))
    assert [row["sample_in_epoch"] for row in got] == falls * 2
    assert got[-1]["samples"] == 2 * batches.samples == 2 * falls[-1]
    assert got[-1]["step"] == 2 * batches.steps
