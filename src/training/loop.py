"""The training loop."""

import inspect
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from src.data import Split, batches
from src.training.schedules import set_lr
from src.training.weights import training

Row = dict[str, Any]  # one evaluation: a line of metrics.jsonl


@dataclass
class Position:
    """How far a run has come, and where it goes on."""

    epoch: int = 1  # 1-based
    seen: int = 0  # samples, in this epoch
    since_row: int = 0  # samples, counted towards the next evaluation
    step: int = 0
    samples: int = 0
    train_seconds: float = 0.0
    wall_seconds: float = 0.0


def train(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    schedule: Callable[[int], float],
    data: Split,
    evaluate: Callable[[], dict[str, float]],
    at: Position,
    *,
    seed: int,
    epochs: int,
    batch_size: int,
    evaluate_every: int,
    tick: Callable[[int, Tensor], None] = lambda samples, loss: None,
) -> Iterator[Row]:
    """Train on from `at`, which it moves, and yield a row at every evaluation.

    A row falls where the samples seen within the epoch reach a multiple of `evaluate_every`, and
    at the epoch's end. `batch_loss` is the loss of the batch just trained on. Whoever iterates
    decides whether to go on; `train_seconds` stands still meanwhile, and during evaluation.
    `tick` gets the total of samples and the loss after every batch.
    """
    started = time.perf_counter() - at.wall_seconds
    resumed = time.perf_counter()
    if at.step == 0:  # later it is as it was saved
        training(optimizer)
    step = stepper(optimizer, partial(training_loss, model))
    while at.epoch <= epochs:
        for inputs, targets in batches(data, batch_size, seed, at.epoch, skip=at.seen):
            set_lr(optimizer, schedule(at.step))
            loss = step(inputs, targets)
            at.step += 1
            at.samples += len(targets)
            at.seen += len(targets)
            at.since_row += len(targets)
            tick(at.samples, loss)
            if at.since_row < evaluate_every and at.seen < len(data):
                continue
            at.since_row -= evaluate_every
            batch_loss = loss.item()  # waits for the device, so the clock is read after it
            at.train_seconds += time.perf_counter() - resumed
            values, at.wall_seconds = evaluate(), time.perf_counter() - started
            yield {
                "step": at.step,
                "samples": at.samples,
                "epoch": at.epoch,
                "sample_in_epoch": at.seen,
                "batch_loss": batch_loss,
                **values,
                "lr": float(optimizer.param_groups[0]["lr"]),
                "train_seconds": at.train_seconds,
                "wall_seconds": at.wall_seconds,
            }
            resumed = time.perf_counter()
        at.epoch, at.seen, at.since_row = at.epoch + 1, 0, 0


def training_loss(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    """The mean loss of a batch."""
    return F.cross_entropy(model(inputs), targets)


def stepper(optimizer: torch.optim.Optimizer, loss: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A function that takes a step on the loss of its arguments, and returns the loss before it."""
    closed = wants_closure(optimizer)

    def step(*batch: Tensor) -> Tensor:
        losses = []

        def closure() -> Any:
            _clear(optimizer)
            losses.append(loss(*batch))
            losses[-1].backward()
            return losses[-1]

        if closed:
            optimizer.step(closure)
        else:
            closure()
            optimizer.step()
        _clear(optimizer)
        if not losses:
            raise ValueError("its step() didn't call the closure")
        return losses[0]

    return step


def wants_closure(optimizer: torch.optim.Optimizer) -> bool:
    """Whether the optimizer's step evaluates the batch itself (torch's LBFGS, say)."""
    closure = inspect.signature(optimizer.step).parameters.get("closure")
    return closure is not None and closure.default is closure.empty


def _clear(optimizer: torch.optim.Optimizer) -> None:
    for group in optimizer.param_groups:  # zero_grad() takes 5% of a small network's step
        for param in group["params"]:
            param.grad = None
