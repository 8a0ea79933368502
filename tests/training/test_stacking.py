"""Which runs train with others, as docs/protocol.md says it."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from src.training.stacking import runs_at_once, why_alone

DRAWN = "a model of this size"
SHORT = "a run this short"
THREADS = "more than one thread"


def asked(
    stack: int | str = "auto", batch: int = 8, parameters: int = 10, epochs: int = 10,
    steps: int = 15, threads: int | None = None, accumulate: int = 1, device: str = "cpu",
) -> tuple[Any, Any]:  # fmt: skip
    model = nn.Module()
    model.weight = nn.Parameter(torch.empty(parameters, device="meta"))
    trainer = SimpleNamespace(stack=stack, threads=threads, accumulate=accumulate, epochs=epochs)
    config = SimpleNamespace(trainer=trainer, data=SimpleNamespace(batch_size=batch))
    parts = SimpleNamespace(
        model=model, device=torch.device(device), batches=SimpleNamespace(steps=steps)
    )
    return config, parts


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({}, None),  # 150 steps
        ({"epochs": 1, "steps": 149}, SHORT),
        ({"epochs": 149, "steps": 1}, SHORT),
        ({"epochs": 1, "steps": 149, "stack": 4}, None),
        ({"batch": 32, "parameters": 16_384}, None),  # 524,288
        ({"batch": 1, "parameters": 524_289}, DRAWN),
        ({"batch": 64, "parameters": 16_384}, DRAWN),
        ({"batch": 64, "parameters": 16_384, "stack": 4}, None),
        ({"batch": 32, "parameters": 16_384, "device": "cuda"}, None),
        ({"batch": 1, "parameters": 524_289, "device": "cuda"}, DRAWN),
        ({"device": "mps"}, DRAWN),  # where nobody has seen that it is quicker
        ({"threads": 2}, THREADS),
        ({"threads": 2, "stack": 4}, THREADS),
        ({"threads": 1}, None),
        ({"batch": 2**13, "parameters": 2**13, "stack": 4}, THREADS),  # two, by its size
        ({"batch": 2**13, "parameters": 2**13, "stack": 4, "threads": 1}, None),
        ({"accumulate": 2, "stack": 4}, "trainer.accumulate"),
    ],
)
def test_why_a_run_trains_alone(given: dict[str, Any], why: str | None) -> None:
    told = why_alone(*asked(**given))
    assert told is None if why is None else told is not None and why in told


@pytest.mark.parametrize(("stack", "count"), [("auto", 20), (1, 1), (5, 5)])
def test_how_many_train_at_once(stack: int | str, count: int) -> None:
    config, _ = asked(stack)
    assert runs_at_once(config) == count
