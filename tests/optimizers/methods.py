"""The methods under test, found by their YAML, and what the tests build with them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from hydra.utils import get_class
from omegaconf import OmegaConf
from torch import Tensor
from torch.optim import Optimizer

from src.training.loop import wants_closure

Settings = dict[str, Any]

CONF = Path(__file__).parents[2] / "conf" / "optimizer"
METHODS = sorted(path.stem for path in CONF.glob("*.yaml"))
SHAPES = ((5, 4), (3, 7), (6,), (), (2, 3, 2))


def settings_of(name: str) -> Settings:
    """What the method's YAML sets."""
    content = OmegaConf.to_container(OmegaConf.load(CONF / f"{name}.yaml"))
    assert isinstance(content, dict)
    return {str(key): value for key, value in content.items() if key != "_target_"}


def class_of(name: str) -> type:
    """The class that the method's YAML names."""
    return get_class(OmegaConf.load(CONF / f"{name}.yaml")["_target_"])


def build(name: str, params: Any, **overrides: Any) -> Any:
    """The method as its YAML has it, except for the overrides."""
    return class_of(name)(params, **{**settings_of(name), **overrides})


def decay(name: str, value: float) -> Settings:
    """The setting for weight decay; nothing for a method that has none."""
    return {"weight_decay": value} if "weight_decay" in settings_of(name) else {}


def idle(name: str) -> int:
    """How many first steps move nothing, by the method's own word."""
    return int(class_of(name).rule.prepare is not None)  # type: ignore[attr-defined]


def remembered(optimizer: Optimizer) -> list[Tensor]:
    """Every tensor of the state, wherever it is."""
    return _found([*optimizer.state.values()])


def _found(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    inside = value.values() if isinstance(value, dict) else value
    return [x for y in inside for x in _found(y)] if isinstance(value, dict | list) else []


def forms(name: str) -> list[tuple[str, Settings]]:
    """The settings under which a method takes other ways to its result, each with a word."""
    own = build(name, [torch.zeros(1)]).defaults
    ways = {"fused": ("plain", False), "precondition_frequency": ("often", 1)}
    return [(word, {key: value}) for key, (word, value) in ways.items() if key in own]


def tensors(
    seed: int = 0, dtype: torch.dtype = torch.float32, shapes: Sequence[tuple[int, ...]] = SHAPES
) -> list[Tensor]:
    """Normally distributed tensors."""
    generator = torch.Generator().manual_seed(seed)
    drawn = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]
    if dtype.is_complex:
        turned = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]
        return [torch.complex(x, y).to(dtype) for x, y in zip(drawn, turned, strict=True)]
    return [x.to(dtype) for x in drawn]


def clones(params: Sequence[Tensor]) -> list[Tensor]:
    """Copies, without gradients."""
    return [param.detach().clone() for param in params]


def give(params: Sequence[Tensor], grads: Sequence[Tensor]) -> None:
    """Set the gradients, each in memory of its own."""
    for param, grad in zip(params, grads, strict=True):
        param.grad = grad.clone()


def run(
    optimizer: Optimizer, params: Sequence[Tensor], steps: Sequence[int], scale: float = 1.0
) -> None:
    """Step with random gradients; the step's number is their seed."""
    for seed in steps:
        drawn = tensors(1000 + seed, params[0].dtype, [tuple(param.shape) for param in params])
        give(params, [grad * scale for grad in drawn])
        step(optimizer)


def step(optimizer: Optimizer) -> None:
    """Step with the gradients that are there, however often the method looks at them."""
    if wants_closure(optimizer):
        optimizer.step(lambda: 0.0)
    else:
        optimizer.step()


def separable(name: str) -> bool:
    """Whether an element of one parameter moves by its own gradient alone."""
    return class_of(name).rule.elementwise and not class_of(name).couples


def same(ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> bool:
    """Whether all bits agree."""
    return all(torch.equal(x, y) for x, y in zip(ours, theirs, strict=True))


def distance(ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> float:
    """The largest difference between two models, relative to the largest value."""
    mine, other = (torch.cat([tensor.flatten() for tensor in model]) for model in (ours, theirs))
    return float((mine - other).abs().max() / other.abs().max())
