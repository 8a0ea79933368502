"""The loop: where rows fall, what they hold, and that it is plain training."""

import time
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from src.data import Split, permutation
from src.models import MLP
from src.training.loop import Position, Row, train


def data(size: int) -> Split:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(size, 1, 1, 2, generator=generator)
    return Split(inputs, (inputs[:, 0, 0, 0] > 0).long())


def rows(size: int, evaluate: Any = dict, **changes: Any) -> list[Row]:
    torch.manual_seed(0)
    model = MLP(2, 2, [3])
    settings = {"seed": 0, "epochs": 1, "batch_size": 64, "evaluate_every": 10_000, **changes}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    rate = lambda step: 1.0  # noqa: E731
    return list(train(model, optimizer, rate, data(size), evaluate, Position(), **settings))


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
    ],
)
def test_rows(size: int, batch_size: int, evaluate_every: int, falls: list[int]) -> None:
    got = rows(size, batch_size=batch_size, evaluate_every=evaluate_every)
    assert [row["sample_in_epoch"] for row in got] == falls


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

    *_, last = rows(300, slow, evaluate_every=64)
    assert last["wall_seconds"] > 1.0
    assert last["train_seconds"] < last["wall_seconds"] - 0.9
    assert last["val_loss"] == 1.0


def test_tick_is_told_of_every_batch() -> None:
    seen: list[int] = []
    rows(70, batch_size=32, epochs=2, tick=lambda samples, loss: seen.append(samples))
    assert seen == [32, 64, 70, 102, 134, 140]
