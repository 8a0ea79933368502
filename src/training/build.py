"""Config -> data, model, loss, optimizer and schedule, built once for a run."""

import inspect
import warnings
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from src.config import Config
from src.data import Batches, Splits, load
from src.errors import InputError
from src.losses import Loss
from src.results.identity import of_length
from src.shapes import Shapes
from src.targets import blaming, build, resolve, signature
from src.training.device import find_device
from src.training.schedules import Constant


@dataclass(frozen=True)
class Parts:
    """The objects that a config describes."""

    data: Splits
    batches: Batches
    model: nn.Module
    loss: Loss
    optimizer: torch.optim.Optimizer
    schedule: Constant
    device: torch.device


def assemble(config: Config) -> Parts:
    """Build what the config describes; the same config and seed give the same weights.

    Raises:
        InputError: a setting, a data file or a device is not what it must be.
    """
    device, data = find_device(config.trainer.device), load_data(config)
    steps, loss = steps_in_all(config, data), build_loss(config)
    model, optimizer = build_pair(config, device, data.shapes, loss, steps)
    schedule = build("scheduler", config.scheduler, Constant, total_steps=steps)
    data = data.to(device)
    loss.prepare(data.train.targets, data.shapes)
    return Parts(data, in_batches(config, data), model, loss, optimizer, schedule, device)


def load_data(config: Config) -> Splits:
    """Read and split the data, on the CPU.

    Raises:
        InputError: a data file or the split is not what it must be.
    """
    settings = config.data
    data = load(settings.source, settings.validation_fraction, settings.split_seed)
    _check_sizes(config, data)
    return data


def in_batches(config: Config, data: Splits) -> Batches:
    settings = config.data
    return Batches(data.train, settings.batch_size, settings.drop_last, settings.shuffle)


def steps_in_all(config: Config, data: Splits) -> int:
    """Steps of a run that ends by itself."""
    return config.trainer.epochs * in_batches(config, data).steps


def build_loss(config: Config) -> Loss:
    """The loss; `prepare` gives it the training set's targets."""
    return build("loss", config.loss, Loss)


def build_pair(
    config: Config, device: torch.device, shapes: Shapes, loss: Loss, steps: int
) -> tuple[nn.Module, torch.optim.Optimizer]:
    """Build the model and its optimizer: the same at every call, with shapes for lazy layers.

    An optimizer whose config has `total_steps: null` gets `steps`, the run's, for it.
    """
    with blaming("loss", config.loss):
        loss.bind(shapes)
    # On a CPU torch's own `manual_seed` would note down, each time, where it was called from.
    seed = torch.manual_seed if device.type != "cpu" else torch.default_generator.manual_seed
    seed(config.seed)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Lazy modules are a new feature")
        model = build_model(config.model, shapes, loss.shape)
    with blaming("model", config.model):
        _give_shapes(model, shapes)
        _mark_outer(model)
    model.to(device)
    settings, parameters = of_length(config.optimizer, steps), list(model.parameters())
    return model, build("optimizer", settings, torch.optim.Optimizer, parameters)


def build_model(settings: dict[str, Any], shapes: Shapes, out_shape: tuple[int, ...]) -> nn.Module:
    """Build a model to the shapes, of which it gets those that its signature names.

    These are `in_shape`, `in_features`, `out_shape`, `out_features`, `num_classes`, `vocabulary`
    and `length`. A class or function that names none of them gets `in_features` and `out_features`
    as its first two arguments, or `num_classes` where it takes only arguments by name.

    Raises:
        InputError: a setting is refused, or the data have no vocabulary for a model that needs one.
    """
    positional, named = _asked(settings, _known(shapes, out_shape))
    return build("model", settings, nn.Module, *positional, **named)


def _known(shapes: Shapes, out_shape: tuple[int, ...]) -> dict[str, Any]:
    """What a model may ask for, by name."""
    each = shapes.classes is not None and len(out_shape) > len(shapes.target)
    return {
        "in_shape": shapes.input,
        "in_features": shapes.in_features,
        "out_shape": out_shape,
        "out_features": prod(out_shape),
        "num_classes": out_shape[-1] if each else prod(out_shape),
        "vocabulary": shapes.vocabulary,
        "length": shapes.input[0] if shapes.input else 1,
    }


def _asked(settings: dict[str, Any], known: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """The arguments for a model, by position and by name, beside its settings."""
    target = resolve("model", settings)
    with blaming("model", settings):  # some classes of C have no signature
        parameters = signature(target).parameters
    named = {name: known[name] for name in parameters if name in known and name not in settings}
    name = settings["_target_"]
    if named.get("vocabulary", 0) is None:
        raise InputError(f"model: {name} needs tokens; the data have no vocabulary")
    if known["vocabulary"] and "vocabulary" not in named and name.startswith("src.models."):
        raise InputError(
            f"model: {name} needs numbers, but the data are tokens; choose model=transformer, say"
        )
    given = {*named, *settings}
    by_place = [each for each in parameters.values() if each.kind in PLACED][:2]
    kinds = {each.kind for each in parameters.values()}
    lacks = any(each.default is each.empty and each.name not in given for each in by_place)
    if lacks or (not named and inspect.Parameter.VAR_POSITIONAL in kinds):
        return [known["in_features"], known["out_features"]], {}
    if not named and not by_place and inspect.Parameter.VAR_KEYWORD in kinds:
        return [], {"num_classes": known["num_classes"]}
    return [], named


PLACED = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def _give_shapes(model: nn.Module, shapes: Shapes) -> None:
    """Let lazy layers see an input, so that an optimizer can be given their parameters.

    It draws their weights from torch's global generator; a model without lazy layers is untouched.
    """
    if not _lazy(model):
        return
    kind = torch.float32 if shapes.vocabulary is None else torch.int64
    with torch.no_grad():
        model.eval()(torch.zeros(2, *shapes.input, dtype=kind))  # batch norm refuses one
    model.train()
    if names := _lazy(model):
        raise ValueError(f"{names[0]} has no shape even after a forward pass")


def _mark_outer(model: nn.Module) -> None:
    """Set `hidden = False` on the weights of embeddings and of what a model names `outer_layers`.

    Methods for hidden layers (Muon) treat them like vectors.

    Raises:
        AttributeError: the model has no layer of that name.
    """
    named = [model.get_submodule(name) for name in getattr(model, "outer_layers", ())]
    embeddings = [module for module in model.modules() if isinstance(module, nn.Embedding)]
    for layer in (*named, *embeddings):
        for parameter in layer.parameters():
            parameter.hidden = False  # type: ignore[attr-defined]


def _lazy(model: nn.Module) -> list[str]:
    tensors = (*model.named_parameters(), *model.named_buffers())
    return [name for name, tensor in tensors if is_lazy(tensor)]


def _check_sizes(config: Config, data: Splits) -> None:
    """Refuse a split that leaves too few samples to train on or to evaluate."""
    settings, size = config.data, len(data.train)
    leaves = f"data.validation_fraction={settings.validation_fraction}: leaves"
    total = size + len(data.val)
    if size == 0:
        raise InputError(f"{leaves} 0 of {total} samples to train on")
    if settings.batch_size > size:
        reason = f"data.batch_size={settings.batch_size}: must be from 1 to {size}"
        if settings.batch_size <= total:
            raise InputError(f"{leaves} {size} of {total} samples to train on; {reason}")
        raise InputError(f"{reason}, the size of the training set")
    for part in {*config.trainer.evaluate, *config.trainer.evaluate_at_end}:
        if len(getattr(data, part)) == 0:
            raise InputError(f"{leaves} no sample for trainer.evaluate={config.trainer.evaluate}")
