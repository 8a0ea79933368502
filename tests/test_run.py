"""A run's pieces: what counts as best, when a row has diverged, what the weights' digest sees."""

import math

import pytest
import torch
from torch import nn

from src.config import parse
from src.run import assemble, best_row, diverged, weights_sha256
from tests.helpers import composed

ROWS = [
    {"val_loss": 0.5, "val_accuracy": 0.7},
    {"val_loss": 0.3, "val_accuracy": 0.9},
    {"val_loss": math.nan, "val_accuracy": 0.1},
    {"val_loss": 0.3, "val_accuracy": 0.8},
]


def test_best_row() -> None:
    assert best_row(ROWS, "val_loss", "minimize") is ROWS[1]
    assert best_row(ROWS, "val_loss", "maximize") is ROWS[0]
    assert best_row(ROWS, "val_accuracy", "maximize") is ROWS[1]
    assert best_row(ROWS[2:3], "val_loss", "minimize") is None
    assert best_row([], "val_loss", "minimize") is None


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", ["batch_loss", "train_loss", "test_loss"])
def test_diverged(name: str, value: float) -> None:
    row = {"batch_loss": 1.0, "train_loss": 1.0, "test_loss": 1.0, "test_accuracy": 0.1}
    assert not diverged(row)
    assert diverged({**row, name: value})


def test_weights_digest_sees_every_bit() -> None:
    net = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))  # which holds a 0-dim tensor
    before = weights_sha256(net)
    assert weights_sha256(net) == before
    with torch.no_grad():
        net[0].bias[1] = torch.nextafter(net[0].bias[1], torch.tensor(9.0))
    after = weights_sha256(net)
    assert after != before
    net[1].num_batches_tracked += 1
    assert weights_sha256(net) != after


def test_the_seed_decides_the_weights_and_never_the_split() -> None:
    one, same, other = (assemble(parse(composed(f"seed={seed}"))) for seed in (1, 1, 2))
    assert weights_sha256(one.model) == weights_sha256(same.model)
    assert weights_sha256(one.model) != weights_sha256(other.model)
    assert torch.equal(one.data.val.inputs, other.data.val.inputs)
    assert torch.equal(one.data.train.targets, other.data.train.targets)
    third = assemble(parse(composed("data.split_seed=1")))
    assert not torch.equal(one.data.val.inputs, third.data.val.inputs)
