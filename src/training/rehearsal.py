"""A run in small, before anything is written: what would fail in it fails here.

The functions raise what the model or the optimizer raises, and ValueError.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.parameter import is_lazy

from src.data import Split
from src.training.evaluation import evaluate
from src.training.leaves import ADVICE, difference, moved
from src.training.loop import Position, train
from src.training.state import Pair, set_global_generators

BATCH = 2  # batch norm refuses one


def samples(shape: Sequence[int], num_classes: int, count: int = 2 * BATCH) -> Split:
    """Made-up data of the real data's shape."""
    return Split(torch.rand(count, *shape), torch.arange(count) % num_classes)


def give_shapes(model: nn.Module, shape: Sequence[int]) -> None:
    """Let lazy layers see an input, so that an optimizer can be given their parameters.

    It draws their weights from torch's global generator; a model without any isn't touched.
    """
    if not _lazy(model):
        return
    with torch.no_grad():
        model.eval()(torch.zeros(BATCH, *shape))
    model.train()
    if names := _lazy(model):
        raise ValueError(f"{names[0]} has no shape even after a forward pass")


def _lazy(model: nn.Module) -> list[str]:
    tensors = (*model.named_parameters(), *model.named_buffers())
    return [name for name, tensor in tensors if is_lazy(tensor)]


def try_model(model: nn.Module, data: Split, num_classes: int) -> None:
    """Go forward, back, and forward once more as an evaluation does."""
    logits, expected = model(data.inputs), (len(data), num_classes)
    if tuple(logits.shape) != expected:
        raise ValueError(
            f"its output must have the shape {expected}, got {tuple(logits.shape)} for inputs of "
            f"the shape {tuple(data.inputs.shape)}"
        )
    F.cross_entropy(logits, data.targets).backward()
    evaluate(model, data)


def try_steps(pair: Pair, data: Split) -> None:
    """Take a few steps, as the run will; leave gradients for another."""
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
    F.cross_entropy(pair.model(data.inputs), data.targets).backward()


def try_checkpoint(pair: Pair, twin: Pair, state: dict[str, Any]) -> None:
    """Go on from a checkpoint and without one, by the same gradients, to the same bits.

    Args:
        pair: has gradients.
        twin: built as the pair was.
        state: the pair's.
    """
    state = moved(state, torch.device("cpu"), copy=True)  # as reading it would give it
    twin.load_state_dict(state)
    for param, other in zip(pair.model.parameters(), twin.model.parameters(), strict=True):
        other.grad = None if param.grad is None else param.grad.clone()
    for each in (pair, twin):
        set_global_generators(state["generators"], each.device)
        for _ in range(2):
            each.optimizer.step()
    if name := difference(pair.state_dict(), twin.state_dict()):
        raise ValueError(
            f"two steps after a checkpoint {name} isn't what it is without one; what makes the "
            f"difference {ADVICE}"
        )
