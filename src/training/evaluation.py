"""Loss and accuracy over whole sets."""

import torch
import torch.nn.functional as F
from torch import nn

from src.data import Split

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
