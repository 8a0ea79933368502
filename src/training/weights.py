"""Methods that train at other weights than those they are judged by.

Schedule-Free methods, say, take gradients at one point and stand for another, an average. Such an
optimizer has `eval()`, which puts the weights that it is judged by into the model, and `train()`,
which goes back.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer


def switches(optimizer: Optimizer) -> bool:
    """Whether it has `train()` and `eval()`."""
    return all(callable(getattr(optimizer, name, None)) for name in ("train", "eval"))


def training(optimizer: Any) -> None:
    """Switch the optimizer to training, if it switches."""
    if switches(optimizer):
        optimizer.train()


@contextmanager
def judged(model: nn.Module, optimizer: Any) -> Iterator[None]:
    """Give the model the weights that its method is judged by, within the context.

    `train()` may round. So the earlier weights are put back, bit by bit: a run doesn't depend on
    how often it is evaluated or saved.
    """
    if not switches(optimizer):
        yield
        return
    before = [param.detach().clone() for param in model.parameters()]
    optimizer.eval()
    try:
        yield
    finally:
        optimizer.train()
        with torch.no_grad():
            for param, value in zip(model.parameters(), before, strict=True):
                param.copy_(value)
