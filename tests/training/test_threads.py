"""The number of threads is a function of the work's size, and of nothing else."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch

from src.config import parse
from src.results import identity
from src.training.device import set_threads, threads_for
from tests.helpers import composed


@pytest.mark.parametrize(
    ("batch_size", "parameters", "threads"),
    [
        (32, 7_510, 1),  # the digits, a hidden layer of 100
        (64, 79_510, 1),  # MNIST, the same
        (256, 79_510, 1),
        (64, 397_510, 1),  # MNIST, a hidden layer of 500
        (64, 1_796_010, 2),  # MNIST, two of 1000
        (64, 5_592_010, 2),
        (1, 2**26 - 1, 1),
        (1, 2**26, 2),
        (2**26, 1, 2),
        (32, 0, 1),
    ],
)
def test_sizes(batch_size: int, parameters: int, threads: int) -> None:
    assert threads_for(batch_size, parameters) == threads


@pytest.mark.parametrize(
    ("recorded", "threads"),
    [
        ({"threads": 2}, 2),
        ({"threads": 1024}, 1024),
        ({}, None),
        ({"threads": 0}, None),
        ({"threads": 1025}, None),
        ({"threads": True}, None),
        ({"threads": "2"}, None),
    ],
)
def test_those_that_a_run_had(recorded: Mapping[str, Any], threads: int | None) -> None:
    assert identity.threads(recorded) == threads


@pytest.mark.parametrize(
    ("named", "had", "threads"), [(None, None, 1), (None, 2, 2), (3, 2, 3), (3, None, 3)]
)
def test_which_number_is_followed(
    monkeypatch: pytest.MonkeyPatch, named: int | None, had: int | None, threads: int
) -> None:
    told: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", told.append)
    config = parse(composed(f"trainer.threads={'null' if named is None else named}"))
    set_threads(config, torch.nn.Linear(64, 10), had)
    assert told == [threads]
