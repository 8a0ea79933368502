"""Config -> data, model, optimizer and schedule, built once for a run."""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from src.config import Config
from src.data import Splits, load
from src.errors import InputError
from src.results.identity import of_length
from src.targets import blaming, build
from src.training.device import find_device
from src.training.schedules import Constant


@dataclass(frozen=True)
class Parts:
    """The objects that a config describes."""

    data: Splits
    model: nn.Module
    optimizer: torch.optim.Optimizer
    schedule: Constant
    device: torch.device


def assemble(config: Config) -> Parts:
    """Build what the config describes; the same config and seed give the same weights.

    Raises:
        InputError: a setting, a data file or a device is not what it must be.
    """
    device, data = find_device(config.trainer.device), load_data(config)
    steps = steps_in_all(config, data)
    model, optimizer = build_pair(config, device, data.shape, data.num_classes, steps)
    schedule = build("scheduler", config.scheduler, Constant, total_steps=steps)
    return Parts(data.to(device), model, optimizer, schedule, device)


def load_data(config: Config) -> Splits:
    """Read and split the data, on the CPU.

    Raises:
        InputError: a data file or the split is not what it must be.
    """
    settings = config.data
    data = load(
        settings.name,
        settings.root,
        settings.mean,
        settings.std,
        settings.validation_fraction,
        settings.split_seed,
    )
    _check_sizes(config, data)
    return data


def steps_in_all(config: Config, data: Splits) -> int:
    """Steps of a run that ends by itself."""
    return config.trainer.epochs * math.ceil(len(data.train) / config.data.batch_size)


def build_pair(
    config: Config, device: torch.device, shape: Sequence[int], num_classes: int, steps: int
) -> tuple[nn.Module, torch.optim.Optimizer]:
    """Build the model and its optimizer: the same at every call, with shapes for lazy layers.

    An optimizer whose config has `total_steps: null` gets `steps`, the run's, for it.
    """
    torch.manual_seed(config.seed)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Lazy modules are a new feature")
        model = build("model", config.model, nn.Module, math.prod(shape), num_classes)
    with blaming("model", config.model):
        _give_shapes(model, shape)
    model.to(device)
    settings, parameters = of_length(config.optimizer, steps), list(model.parameters())
    return model, build("optimizer", settings, torch.optim.Optimizer, parameters)


def _give_shapes(model: nn.Module, shape: Sequence[int]) -> None:
    """Let lazy layers see an input, so that an optimizer can be given their parameters.

    It draws their weights from torch's global generator; a model without lazy layers is untouched.
    """
    if not _lazy(model):
        return
    with torch.no_grad():
        model.eval()(torch.zeros(2, *shape))  # batch norm refuses one
    model.train()
    if names := _lazy(model):
        raise ValueError(f"{names[0]} has no shape even after a forward pass")


def _lazy(model: nn.Module) -> list[str]:
    tensors = (*model.named_parameters(), *model.named_buffers())
    return [name for name, tensor in tensors if is_lazy(tensor)]


def _check_sizes(config: Config, data: Splits) -> None:
    """Refuse a split that leaves too few images to train on or to evaluate."""
    settings, size = config.data, len(data.train)
    leaves = f"data.validation_fraction={settings.validation_fraction}: leaves"
    total = size + len(data.val)
    if size == 0:
        raise InputError(f"{leaves} 0 of {total} images to train on")
    if settings.batch_size > size:
        reason = f"data.batch_size={settings.batch_size}: must be from 1 to {size}"
        if settings.batch_size <= total:
            raise InputError(f"{leaves} {size} of {total} images to train on; {reason}")
        raise InputError(f"{reason}, the size of the training set")
    for part in {*config.trainer.evaluate, *config.trainer.evaluate_at_end}:
        if len(getattr(data, part)) == 0:
            raise InputError(f"{leaves} no image for trainer.evaluate={config.trainer.evaluate}")
