"""Loss and accuracy over whole sets."""

import time
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from src.data import Split
from src.metrics import DIRECTIONS
from src.training.build import Parts
from src.training.weights import judged

BATCH = 2048  # large enough to fill the cores, small enough for its activations to stay in cache


@torch.inference_mode()
def evaluate(model: nn.Module, data: Split) -> tuple[float, float]:
    """Mean cross-entropy and the share of correct predictions; every sample counts once."""
    was_training = model.training
    model.eval()
    loss, correct = 0.0, 0
    for inputs, targets in zip(data.inputs.split(BATCH), data.targets.split(BATCH), strict=True):
        logits = model(inputs)
        loss += F.cross_entropy(logits, targets, reduction="sum").item()
        correct += int((logits.argmax(1) == targets).sum())
    model.train(was_training)
    return loss / len(data), correct / len(data)


class Evaluator:
    """Evaluates the sets that the config names, and counts the seconds it takes."""

    def __init__(self, parts: Parts, names: Sequence[str]) -> None:
        self.model, self.optimizer = parts.model, parts.optimizer
        self.splits = {name: getattr(parts.data, name) for name in names}
        self.seconds = 0.0

    def __call__(self) -> dict[str, float]:
        started = time.perf_counter()
        values: dict[str, float] = {}
        with judged(self.model, self.optimizer):
            for name, split in self.splits.items():
                for quantity, value in zip(DIRECTIONS, evaluate(self.model, split), strict=True):
                    values[f"{name}_{quantity}"] = value
        self.seconds += time.perf_counter() - started
        return values
