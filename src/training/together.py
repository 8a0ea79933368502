"""K runs at once, in one process: each as if alone, but that they meet where gradients are made.

A run is a coroutine. It runs as it always does until it wants the gradients of a batch, and goes on
when it has them. When all wait, those of one kind get theirs in one pass (`src.training.stack`).
All else is each run's own: its optimizer, record, rows, early stopping and checkpoints.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import suppress
from typing import Any, Generic, TypeVar

import torch
from greenlet import getcurrent, greenlet
from torch import Tensor, nn

from src.training.loop import whole
from src.training.stack import Stack
from src.training.state import global_generators, set_global_generators
from src.training.tape import Batch, Loss, NotStackedError, Want

T = TypeVar("T")
LEAST = 4  # models; fewer are quicker one after the other


class Together(Generic[T]):
    """Does tasks, some at once.

    Args:
        size: how many at once, >= 1.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.hub: greenlet = getcurrent()
        self.waiting: dict[greenlet, tuple[Hashable, Want]] = {}
        self.generators: dict[greenlet, dict[str, Tensor]] = {}  # torch's, as each task left them
        self.stacks: dict[Hashable, Stack] = {}
        self.alone: dict[Hashable, str] = {}  # the kinds that aren't stacked, and why

    def backward(self, kind: Hashable, model: nn.Module, loss: Loss, batch: Batch) -> Any:
        """Give a model the gradients of a batch's loss; return the loss. Tasks call this.

        Args:
            kind: of models that do the same with a batch of the same shapes.
        """
        value = self.hub.switch((kind, Want(model, loss, batch)))
        return whole(loss, *batch) if value is None else value

    def run(self, tasks: Iterable[Callable[[], T]]) -> Iterator[T]:
        """Do the tasks, each begun when there is room for it, and yield what they return.

        Whatever a task raises ends all of them, as Ctrl-C would.
        """
        self.hub, queue = getcurrent(), iter(tasks)
        try:
            while True:
                while len(self.waiting) < self.size and (task := next(queue, None)):
                    yield from self._go(greenlet(task))
                if not self.waiting:
                    return
                for coroutine, value in self._meet():
                    yield from self._go(coroutine, value)
        finally:
            for coroutine in [*self.waiting]:
                with suppress(KeyboardInterrupt):
                    self._go_to(coroutine, coroutine.throw, KeyboardInterrupt())

    def _go(self, coroutine: greenlet, *value: Any) -> Iterator[T]:
        """Let a task go on until it wants something; yield what it returns where it ends."""
        answer = self._go_to(coroutine, coroutine.switch, *value)
        if coroutine.dead:
            yield answer
        else:
            self.waiting[coroutine] = answer

    def _go_to(self, coroutine: greenlet, switch: Callable[..., Any], *value: Any) -> Any:
        """Switch to a task, which finds torch's generators as it left them."""
        self.waiting.pop(coroutine, None)
        device = torch.device("cuda" if torch.cuda.is_initialized() else "cpu")
        if states := self.generators.pop(coroutine, None):
            set_global_generators(states, device)
        answer = switch(*value)
        if not coroutine.dead:
            self.generators[coroutine] = global_generators(device)
        return answer

    def _meet(self) -> Iterator[tuple[greenlet, Any]]:
        """Make the gradients that are wanted; yield each task and its loss."""
        kinds: dict[Hashable, list[greenlet]] = {}
        for coroutine, (kind, _) in self.waiting.items():
            kinds.setdefault(kind, []).append(coroutine)
        for kind, coroutines in kinds.items():
            wants = [self.waiting[coroutine][1] for coroutine in coroutines]
            losses = self._gradients(kind, wants)
            yield from zip(coroutines, losses, strict=True)

    def _gradients(self, kind: Hashable, wants: list[Want]) -> list[Any]:
        """Those of one kind's models, whose batches may have several shapes.

        Returns:
            The losses; None for each model that is left to do it alone.
        """
        several: dict[Hashable, list[int]] = {}
        for at, want in enumerate(wants):
            several.setdefault(want.shapes, []).append(at)
        losses: list[Any] = [None] * len(wants)
        for shapes, places in several.items():
            some = [wants[at] for at in places]
            try:
                found = (
                    self._stacked(kind, wants, some) if (kind, shapes) not in self.alone else None
                )
            except NotStackedError as error:
                self.alone[kind, shapes], found = str(error), None
            for at, loss in zip(places, found or [], strict=False):
                losses[at] = loss
        return losses

    def _stacked(self, kind: Hashable, wants: list[Want], some: list[Want]) -> list[Any] | None:
        """The losses of some, made in one pass; None where that takes longer."""
        stack, models = self.stacks.get(kind), [want.model for want in wants]
        if stack is None or not stack.holds(models) or 2 * len(models) < len(stack):
            if len(models) < LEAST:
                return None
            stack = self.stacks[kind] = Stack(models)
        return stack.gradients(some) if 2 * len(some) >= len(stack) else None
