"""The training loop."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from src.data import Split, batches
from src.training.schedules import set_lr

Row = dict[str, Any]  # one evaluation: a line of metrics.jsonl


def train(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    schedule: Callable[[int], float],
    data: Split,
    evaluate: Callable[[], dict[str, float]],
    *,
    seed: int,
    epochs: int,
    batch_size: int,
    evaluate_every: int,
    tick: Callable[[int, Tensor], None] = lambda samples, loss: None,
) -> Iterator[Row]:
    """Train, and yield a row at every evaluation.

    A row falls where the samples seen within the epoch reach a multiple of `evaluate_every`, and
    at the epoch's end. `batch_loss` is the loss of the batch just trained on. Whoever iterates
    decides whether to go on; `train_seconds` stands still meanwhile, and during evaluation.
    `tick` is told of every batch: the samples seen in all and the loss.
    """
    step = samples = 0
    train_seconds, started = 0.0, time.perf_counter()
    resumed = started
    for epoch in range(1, epochs + 1):
        seen = since_row = 0
        for inputs, targets in batches(data, batch_size, seed, epoch):
            set_lr(optimizer, schedule(step))
            loss = F.cross_entropy(model(inputs), targets)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            step, samples, seen = step + 1, samples + len(targets), seen + len(targets)
            since_row += len(targets)
            tick(samples, loss)
            if since_row < evaluate_every and seen < len(data):
                continue
            since_row -= evaluate_every
            batch_loss = loss.item()  # waits for the device, so the clock is read after it
            train_seconds += time.perf_counter() - resumed
            yield {
                "step": step,
                "samples": samples,
                "epoch": epoch,
                "sample_in_epoch": seen,
                "batch_loss": batch_loss,
                **evaluate(),
                "lr": float(optimizer.param_groups[0]["lr"]),
                "train_seconds": train_seconds,
                "wall_seconds": time.perf_counter() - started,
            }
            resumed = time.perf_counter()
