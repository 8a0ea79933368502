"""A small rehearsal of a run, before anything is written: what would fail in the run fails here.

Below `check`, the functions raise what the model or the optimizer raises, and ValueError.
"""

import sys
import time
from dataclasses import replace
from functools import partial
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from src.config import Config
from src.data import Batches, Split, Splits, shapes_ahead
from src.errors import InputError
from src.loggers import Loggers
from src.losses import Loss
from src.metrics import DIRECTIONS, LOSS, SETS, direction_of, is_metric, quantity
from src.shapes import Shapes
from src.targets import blaming, build
from src.training.build import build_loss, build_pair, in_batches, load_data, steps_in_all
from src.training.device import find_device
from src.training.evaluation import evaluate
from src.training.leaves import ADVICE, difference, moved
from src.training.loop import Position, stepper, train, training_loss, wants_closure
from src.training.schedules import Constant
from src.training.state import Pair, set_global_generators
from src.training.weights import training

BATCH = 2  # batch norm refuses one
SAMPLES = 2 * BATCH
STEPS = 4  # that are timed; the first ones load what they need


def check(config: Config) -> Splits:
    """Refuse a config whose run would fail, before the run has a folder.

    Returns:
        The data that the run would train on, on the CPU.

    Raises:
        InputError: a part can't be built, or fails where it is used.
    """
    device = find_device(config.trainer.device)
    build("scheduler", config.scheduler, Constant, total_steps=sys.maxsize)
    Loggers(config.logger)
    check_metric(config, build_loss(config))
    if shapes := shapes_ahead(config.data.source):  # a mistake never waits for a download
        _rehearse(config, device, shapes, samples(shapes), None)
    data = load_data(config)
    build("scheduler", config.scheduler, Constant, total_steps=steps_in_all(config, data))
    first = Split(data.train.inputs[:SAMPLES], data.train.targets[:SAMPLES])
    pair, loss = _rehearse(config, device, data.shapes, first, data.train.targets)
    _check_last_batch(config, data, pair.model, loss)
    return data


def seconds_of_a_step(config: Config) -> float:
    """The least time that one of a few steps takes, on a few samples: what methods differ in.

    Raises:
        Exception: whatever a part raises; more steps are taken than by `check`.
    """
    device, data, loss = find_device(config.trainer.device), load_data(config), build_loss(config)
    first = Split(data.train.inputs[:SAMPLES], data.train.targets[:SAMPLES]).to(device)
    model, optimizer = build_pair(config, device, data.shapes, loss, sys.maxsize)
    loss.prepare(data.train.targets.to(device), data.shapes)
    clip_norm, seconds = config.trainer.clip_norm, []
    step = stepper(optimizer, partial(training_loss, model, loss), clip_norm)
    training(optimizer)
    for _ in range(STEPS):
        started = time.perf_counter()
        step(first.inputs, first.targets).item()  # waits for the device
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def check_metric(config: Config, loss: Loss) -> None:
    """Refuse an objective that the loss doesn't measure, and names that can't be metrics'."""
    for name in loss.metrics:
        if not is_metric(f"{SETS[0]}_{name}") or name == LOSS:
            raise InputError(f"loss: {config.loss['_target_']}: no metric can be named {name!r}")
    metric, names = config.objective.metric, (LOSS, *loss.metrics)
    if quantity(metric) not in names:
        raise InputError(
            f"objective.metric={metric}: {config.loss['_target_']} measures {', '.join(names)}"
        )
    given = config.objective.direction
    direction = direction_of(metric, given, loss.metrics)  # the default doesn't know one's own
    if quantity(metric) not in DIRECTIONS and given != direction:
        raise InputError(f"objective.direction={given}: must be {direction} for {metric}")


def _rehearse(
    config: Config, device: torch.device, shapes: Shapes, data: Split, targets: Tensor | None
) -> tuple[Pair, Loss]:
    """Refuse what a part refuses of data of these shapes.

    Many mistakes show only in use: in a forward pass, a step, or a step after a checkpoint.

    Args:
        data: a few samples.
        targets: of the whole training set; None where it isn't read yet.

    Returns:
        The rehearsed model and optimizer, and the loss.
    """
    loss, data = build_loss(config), data.to(device)
    pair = Pair(*build_pair(config, device, shapes, loss, sys.maxsize))
    with blaming("loss", config.loss):
        loss.prepare(data.targets if targets is None else targets.to(device), shapes)
    with blaming("model", config.model):
        outputs = try_model(pair.model, loss, data)
    with blaming("loss", config.loss):
        try_loss(loss, outputs, data.targets)
    with blaming("optimizer", config.optimizer):
        try_steps(pair, loss, data, config.trainer.clip_norm)
    if config.trainer.checkpoint_every is not None:
        state = pair.state_dict()
        twin = Pair(*build_pair(config, device, shapes, loss, sys.maxsize))
        with blaming("optimizer", config.optimizer):
            try_checkpoint(pair, twin, loss, state, data)
    return pair, loss


def _check_last_batch(config: Config, data: Splits, model: nn.Module, loss: Loss) -> None:
    """Refuse a batch, or a part of one, of one sample for a model that can't train on it."""
    batches, parts = in_batches(config, data), config.trainer.accumulate
    if smallest_part(batches, parts) != 1:
        return
    try:
        one = Split(data.train.inputs[:1], data.train.targets[:1])
        try_model(model, loss, one.to(next(model.parameters()).device))
    except Exception as error:  # a user's class may raise anything
        size, batch_size = len(data.train), config.data.batch_size
        where = f"data.batch_size={batch_size}" + f" trainer.accumulate={parts}" * (parts > 1)
        raise InputError(
            f"{where}: leaves a batch of 1 of the {size} training samples, "
            f"which {config.model['_target_']} refuses ({' '.join(str(error).split())}); "
            f"{_cure(batches, parts)}"
        ) from error


def _cure(batches: Batches, parts: int) -> str:
    """What leaves no batch of one sample."""
    drop = smallest_part(replace(batches, drop_last=True), parts) > 1
    for batch_size in range(batches.batch_size, len(batches.split) + 1):
        if smallest_part(replace(batches, batch_size=batch_size), parts) > 1:
            return f"choose data.batch_size={batch_size}, say{', or data.drop_last=true' * drop}"
    return "train on more"


def smallest_part(batches: Batches, parts: int) -> int:
    """The smallest number of samples that a model sees at once in an epoch."""
    last = batches.samples % batches.batch_size or batches.batch_size
    sizes = {batches.batch_size, last}
    return min(len(part) for size in sizes for part in torch.empty(size).chunk(parts))


def samples(shapes: Shapes, count: int = SAMPLES) -> Split:
    """Made-up data of these shapes."""
    inputs, targets = (count, *shapes.input), (count, *shapes.target)
    return Split(
        torch.rand(inputs) if shapes.vocabulary is None else _indices(inputs, shapes.vocabulary),
        torch.rand(targets) if shapes.classes is None else _indices(targets, shapes.classes),
    )


def _indices(shape: tuple[int, ...], below: int) -> Tensor:
    return torch.arange(prod(shape)).reshape(shape) % below


def try_model(model: nn.Module, loss: Loss, data: Split) -> Tensor:
    """Do a forward pass, a backward pass and an evaluation; return the outputs."""
    outputs: Tensor = model(data.inputs)
    count = len(data)
    fit = ((count, *loss.shape), (count, prod(loss.shape)))
    if tuple(outputs.shape) not in fit:
        raise ValueError(
            f"its output must have the shape {fit[0]}, got {tuple(outputs.shape)} for inputs of "
            f"the shape {tuple(data.inputs.shape)}"
        )
    training_loss(model, loss, data.inputs, data.targets).backward()
    evaluate(model, loss, data)
    return outputs.detach().reshape(fit[0])


def try_loss(loss: Loss, outputs: Tensor, targets: Tensor) -> None:
    """Check that a loss gives what it says: a value per sample, and its metrics."""
    values = {LOSS: loss.values(outputs, targets), **loss.measures(outputs, targets)}
    if {*values} != {LOSS, *loss.metrics}:
        raise ValueError(f"it says metrics={[*loss.metrics]}, but measures {[*values][1:]}")
    for name, value in values.items():
        if tuple(value.shape) != (len(targets),):
            raise ValueError(
                f"its {name} must be a value per sample, shape {(len(targets),)}, "
                f"got {tuple(value.shape)}"
            )


def try_steps(pair: Pair, loss: Loss, data: Split, clip_norm: float | None = None) -> None:
    """Take a few steps as the run will, and leave gradients for another step."""
    for group in pair.optimizer.param_groups:
        if "lr" not in group:
            raise ValueError("its parameter groups have no lr, which a schedule sets")
    rows = train(
        pair.model,
        loss,
        pair.optimizer,
        lambda step: 1.0,
        Batches(data, BATCH),
        dict,
        Position(),
        seed=0,
        epochs=1,
        evaluate_every=len(data),
        clip_norm=clip_norm,
    )
    for _ in rows:
        pass
    training_loss(pair.model, loss, data.inputs, data.targets).backward()


def try_checkpoint(pair: Pair, twin: Pair, loss: Loss, state: dict[str, Any], data: Split) -> None:
    """Check that steps with and without a checkpoint before them give the same bits.

    Args:
        pair: its parameters have gradients.
        twin: a second pair, built as the first was.
        state: of the pair.
        data: for an optimizer that makes its gradients itself.
    """
    state = moved(state, torch.device("cpu"), copy=True)  # as if read from a file
    twin.load_state_dict(state)
    for param, twin_param in zip(pair.model.parameters(), twin.model.parameters(), strict=True):
        twin_param.grad = None if param.grad is None else param.grad.clone()
    for trained in (pair, twin):
        set_global_generators(state["generators"], trained.device)
        step = stepper(trained.optimizer, partial(training_loss, trained.model, loss))
        for _ in range(2):
            if wants_closure(trained.optimizer):
                step(data.inputs, data.targets)
            else:
                trained.optimizer.step()
    if name := difference(pair.state_dict(), twin.state_dict()):
        raise ValueError(
            f"two steps after a checkpoint {name} isn't what it is without one; what makes the "
            f"difference {ADVICE}"
        )
