"""The training loop."""

import inspect
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, SupportsFloat

import torch
from torch import Tensor, nn

from src.data import Batches, Drawn
from src.losses import Loss
from src.training.schedules import set_lr
from src.training.weights import training

Row = dict[str, Any]  # one evaluation: a line of metrics.jsonl
# Takes a function of a batch and the batch; makes the gradients of its value, and returns that.
Backward = Callable[..., Any]


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
    loss: Loss,
    optimizer: torch.optim.Optimizer,
    schedule: Callable[[int], float],
    batches: Batches,
    evaluate: Callable[[], dict[str, float]],
    at: Position,
    *,
    seed: int,
    epochs: int,
    evaluate_every: int,
    clip_norm: float | None = None,
    accumulate: int = 1,
    take: Callable[[Drawn], Any] | None = None,
    tick: Callable[[int, SupportsFloat], None] = lambda samples, value: None,
) -> Iterator[Row]:
    """Train on from `at`, which it moves, and yield a row at every evaluation.

    A row falls where the samples seen within the epoch reach a multiple of `evaluate_every`, and
    at the epoch's end. `batch_loss` is the loss of the batch just trained on. Whoever iterates
    decides whether to go on; `train_seconds` stands still meanwhile, and during evaluation.
    `take` takes the step on a batch and returns its loss, elsewhere than here. `tick` gets the
    total of samples and the loss after every batch.
    """
    started = time.perf_counter() - at.wall_seconds
    resumed = time.perf_counter()
    if at.step == 0:  # later it is as it was saved
        training(optimizer)
    step = stepper(optimizer, partial(training_loss, model, loss), clip_norm, accumulate)
    samples = batches.samples
    while at.epoch <= epochs:
        for batch in batches.epoch(seed, at.epoch, skip=at.seen):
            set_lr(optimizer, schedule(at.step))
            value, size = take(batch) if take else step(*batch), len(batch)
            at.step += 1
            at.samples += size
            at.seen += size
            at.since_row += size
            tick(at.samples, value)
            if at.since_row < evaluate_every and at.seen < samples:
                continue
            at.since_row -= evaluate_every
            batch_loss = value.item()  # waits for the device, so the clock is read after it
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


def training_loss(model: nn.Module, loss: Loss, inputs: Tensor, targets: Tensor) -> Tensor:
    """The mean loss of a batch."""
    return loss.training(outputs_of(model, loss, inputs), targets)


def outputs_of(model: nn.Module, loss: Loss, inputs: Tensor) -> Tensor:
    """A model's outputs in the shape that the loss needs; a model may give them flat."""
    outputs: Tensor = model(inputs)
    return outputs if outputs.shape[1:] == loss.shape else outputs.reshape(-1, *loss.shape)


def stepper(
    optimizer: torch.optim.Optimizer,
    loss: Callable[..., Tensor],
    clip_norm: float | None = None,
    accumulate: int = 1,
    backward: Backward | None = None,
) -> Callable[..., Any]:
    """A function that takes a step on the loss of its arguments, and returns the loss before it.

    Args:
        clip_norm: the most that the norm of all gradients together may be, > 0.
        accumulate: parts of a batch whose gradients are added up: less memory, the same step.
        backward: makes the gradients of a whole batch.
    """
    closed, at_once = wants_closure(optimizer), partial(backward or whole, loss)
    gradients = partial(_in_parts, loss, accumulate) if accumulate > 1 else at_once

    def step(*batch: Tensor) -> Any:
        losses = []

        def closure() -> Any:
            clear(optimizer)
            losses.append(gradients(*batch))
            if clip_norm is not None:
                nn.utils.clip_grad_norm_(_parameters(optimizer), clip_norm)
            return losses[-1]

        if closed:
            optimizer.step(closure)
        else:
            closure()
            optimizer.step()
        clear(optimizer)
        if not losses:
            raise ValueError("its step() didn't call the closure")
        return losses[0]

    return step


def whole(loss: Callable[..., Tensor], *batch: Tensor) -> Tensor:
    """Give the parameters the gradients of a batch's loss; return it."""
    value = loss(*batch)
    value.backward()
    return value


def _in_parts(loss: Callable[..., Tensor], parts: int, *batch: Tensor) -> Tensor:
    """Add up the gradients of a batch's parts, each weighed by its share of the samples."""
    total = torch.zeros((), device=batch[0].device)
    for part in zip(*(tensor.chunk(parts) for tensor in batch), strict=True):
        value = loss(*part) * (len(part[0]) / len(batch[0]))
        value.backward()
        total += value.detach()
    return total


def wants_closure(optimizer: torch.optim.Optimizer) -> bool:
    """Whether the optimizer's step evaluates the batch itself (torch's LBFGS, say)."""
    closure = inspect.signature(optimizer.step).parameters.get("closure")
    return closure is not None and closure.default is closure.empty


def clear(optimizer: torch.optim.Optimizer) -> None:
    """Take the gradients away."""
    for group in optimizer.param_groups:  # zero_grad() takes 5% of a small network's step
        for param in group["params"]:
            param.grad = None


def _parameters(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [param for group in optimizer.param_groups for param in group["params"]]
