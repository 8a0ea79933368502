"""A small rehearsal of a run, before anything is written: what would fail in the run fails here.

Below `check`, the functions raise what the model or the optimizer raises, and ValueError.
"""

import sys
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from src.config import Config
from src.data import Split, Splits, sizes
from src.errors import InputError
from src.loggers import Loggers
from src.targets import blaming, build
from src.training.build import build_pair, load_data, steps_in_all
from src.training.device import find_device
from src.training.evaluation import evaluate
from src.training.leaves import ADVICE, difference, moved
from src.training.loop import Position, stepper, train, training_loss, wants_closure
from src.training.schedules import Constant
from src.training.state import Pair, set_global_generators

BATCH = 2  # batch norm refuses one


def check(config: Config) -> Splits:
    """Refuse a config whose run would fail, before the run has a folder.

    Returns:
        The data that the run would train on, on the CPU.

    Raises:
        InputError: a part can't be built, or fails where it is used.
    """
    model = _rehearse(config)
    data = load_data(config)
    build("scheduler", config.scheduler, Constant, total_steps=steps_in_all(config, data))
    _check_last_batch(config, data, model)
    return data


def _rehearse(config: Config) -> nn.Module:
    """Refuse what a part refuses, before any data is read or downloaded.

    Many mistakes show only in use: in a forward pass, a step, or a step after a checkpoint.

    Returns:
        The rehearsed model.
    """
    device = find_device(config.trainer.device)
    build("scheduler", config.scheduler, Constant, total_steps=sys.maxsize)
    Loggers(config.logger)
    shape, num_classes = sizes(config.data.name)
    pair = Pair(*build_pair(config, device, shape, num_classes, sys.maxsize))
    data = samples(shape, num_classes).to(device)
    with blaming("model", config.model):
        try_model(pair.model, data, num_classes)
    with blaming("optimizer", config.optimizer):
        try_steps(pair, data)
    if config.trainer.checkpoint_every is not None:
        state = pair.state_dict()
        twin = Pair(*build_pair(config, device, shape, num_classes, sys.maxsize))
        with blaming("optimizer", config.optimizer):
            try_checkpoint(pair, twin, state, data)
    return pair.model


def _check_last_batch(config: Config, data: Splits, model: nn.Module) -> None:
    """Refuse a last batch of one sample for a model that can't train on one (batch norm, say)."""
    size, batch_size = len(data.train), config.data.batch_size
    if size % batch_size != 1 and batch_size != 1:
        return
    try:
        sample = samples(data.shape, data.num_classes, 1).to(next(model.parameters()).device)
        try_model(model, sample, data.num_classes)
    except Exception as error:  # a user's class may raise anything
        usable_size = next((n for n in range(batch_size + 1, size + 1) if size % n != 1), None)
        choose = f"choose data.batch_size={usable_size}, say" if usable_size else "train on more"
        raise InputError(
            f"data.batch_size={batch_size}: leaves a batch of 1 of the {size} training samples, "
            f"which {config.model['_target_']} refuses ({' '.join(str(error).split())}); {choose}"
        ) from error


def samples(shape: Sequence[int], num_classes: int, count: int = 2 * BATCH) -> Split:
    """Made-up data of the real data's shape."""
    return Split(torch.rand(count, *shape), torch.arange(count) % num_classes)


def try_model(model: nn.Module, data: Split, num_classes: int) -> None:
    """Do a forward pass, a backward pass and an evaluation."""
    logits, expected = model(data.inputs), (len(data), num_classes)
    if tuple(logits.shape) != expected:
        raise ValueError(
            f"its output must have the shape {expected}, got {tuple(logits.shape)} for inputs of "
            f"the shape {tuple(data.inputs.shape)}"
        )
    F.cross_entropy(logits, data.targets).backward()
    evaluate(model, data)


def try_steps(pair: Pair, data: Split) -> None:
    """Take a few steps as the run will, and leave gradients for another step."""
    for group in pair.optimizer.param_groups:
        if "lr" not in group:
            raise ValueError("its parameter groups have no lr, which a schedule sets")
    rows = train(
        pair.model,
        pair.optimizer,
        lambda step: 1.0,
        data,
        dict,
        Position(),
        seed=0,
        epochs=1,
        batch_size=BATCH,
        evaluate_every=len(data),
    )
    for _ in rows:
        pass
    training_loss(pair.model, data.inputs, data.targets).backward()


def try_checkpoint(pair: Pair, twin: Pair, state: dict[str, Any], data: Split) -> None:
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
        step = stepper(trained.optimizer, partial(training_loss, trained.model))
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
