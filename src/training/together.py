"""K runs at once, in one process: each as if alone, but that they meet to step and to be evaluated.

A run is a coroutine. It runs as it always does until it wants a step on a batch, or an evaluation,
and goes on when it has that. When all wait, those of one kind get theirs in one pass
(`src.training.stack`, `steps`, `looks`). All else is each run's own: its record, rows, early
stopping and checkpoints.
"""

from collections.abc import Callable, Generator, Hashable, Iterable, Iterator
from contextlib import suppress
from functools import lru_cache
from typing import Any, Generic, TypeVar

import torch
from greenlet import getcurrent, greenlet
from torch import Tensor, nn
from torch.optim import Optimizer

from src.data import Split
from src.losses import Loss as Criterion
from src.training.looks import Known, Look, Looks
from src.training.loop import clear, whole
from src.training.stack import Program, Stack
from src.training.stacking import LEAST
from src.training.state import global_generators, set_global_generators
from src.training.steps import Steps
from src.training.tape import Batch, Loss, NotStackedError, Want

T = TypeVar("T")
CPU, CUDA = torch.device("cpu"), torch.device("cuda")
AGREED: dict[Hashable, bool] = {}  # of kinds of optimizers, whether they step at once


@lru_cache(maxsize=8)
def _programs(kind: Hashable, size: int) -> dict[Hashable, Program]:
    """What was made for stacks of a kind and size: those that come later try it first."""
    return {}


@lru_cache(maxsize=2)  # they keep their sets; no more of these than `data.splits` keeps
def _evaluations(kind: Hashable, size: int) -> Known:
    """The same for evaluations."""
    return {}


def _device() -> torch.device:
    """That whose generators tasks may draw from."""
    return CUDA if torch.cuda.is_initialized() else CPU


class Together(Generic[T]):
    """Does tasks, some at once.

    Args:
        size: how many at once, >= 1.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.hub: greenlet = getcurrent()
        self.waiting: dict[greenlet, tuple[Hashable, Want | Look]] = {}
        self.generators: dict[greenlet, dict[str, Tensor]] = {}  # torch's, as each task left them
        self.stacks: dict[Hashable, Stack] = {}
        self.steps: dict[Hashable, Steps] = {}
        self.looks: dict[Hashable, Looks] = {}
        self.seen: set[tuple[Hashable, int]] = set()  # kinds and sizes of stacks
        self.made: set[tuple[Hashable, Hashable]] = set()  # what was made in one pass before
        # Why models of a kind aren't stacked, by kind and shapes of the batch.
        self.alone: dict[tuple[Hashable, Hashable], str] = {}
        self.unseen: set[Hashable] = set()  # kinds and sets that are evaluated one by one

    def backward(self, kind: Hashable, model: nn.Module, loss: Loss, batch: Batch) -> Any:
        """Give a model the gradients of a batch's loss; return the loss. Tasks call this.

        Args:
            kind: of models that do the same with a batch of the same shapes.
        """
        value, _ = self.hub.switch((kind, Want(model, loss, batch)))
        return whole(loss, *batch) if value is None else value

    def why_alone(self, kind: Hashable) -> str | None:
        """Why models of a kind weren't stacked; None if they were."""
        return next((why for (of, _), why in self.alone.items() if of == kind), None)

    def stepper(
        self,
        kind: Hashable,
        model: nn.Module,
        loss: Loss,
        optimizer: Optimizer,
        *,
        quiet: bool = False,
    ) -> Callable[[Batch], Any]:
        """A function that takes a step on a batch and returns the loss before it; for a task.

        Args:
            kind: as of `backward`.
            optimizer: of the model's parameters, whose step needs their gradients alone.
            quiet: whether the task draws nothing from torch's generators between a step that was
                taken here and what it wants next.
        """
        want = Want(model, loss, (), optimizer, quiet=quiet)

        def step(batch: Batch) -> Any:
            want.batch = batch
            value, taken = self.hub.switch((kind, want))
            if value is None:
                value = whole(loss, *batch)
            if not taken:
                optimizer.step()
                clear(optimizer)
            return value

        return step

    def evaluate(
        self, kind: Hashable, model: nn.Module, loss: Criterion, data: Split
    ) -> dict[str, float]:
        """What `training.evaluation.evaluate` gives; for a task.

        Args:
            kind: as of `backward`.
        """
        look = Look(model, loss, data)
        means = self.hub.switch((kind, look))
        return look.alone() if means is None else means

    def run(self, tasks: Iterable[Callable[[], T]]) -> Generator[T]:
        """Do the tasks, each begun when there is room for it, and yield what they return.

        Whatever a task raises ends all of them, as Ctrl-C would.
        """
        self.hub, queue = getcurrent(), iter(tasks)
        try:
            while True:
                while len(self.waiting) < self.size and (task := next(queue, None)):
                    coroutine = greenlet(task)
                    answer = self._go_to(coroutine, coroutine.switch)
                    if coroutine.dead:
                        yield answer
                if not self.waiting:
                    return
                for coroutine, value in self._meet():
                    answer = self._go_to(coroutine, coroutine.switch, value)
                    if coroutine.dead:
                        yield answer
        finally:
            for coroutine in [*self.waiting]:
                with suppress(KeyboardInterrupt):
                    self._go_to(coroutine, coroutine.throw, KeyboardInterrupt())
            for key in self.seen:
                programs = [each for _, _, each in _evaluations(*key).values()]
                for program in (*_programs(*key).values(), *programs):
                    program.forget()  # what it has computed

    def _go_to(self, coroutine: greenlet, switch: Callable[..., Any], *value: Any) -> Any:
        """Switch to a task, which finds torch's generators as it left them.

        Returns:
            What it returns, where it ends; else it waits for what it wants.
        """
        _, wanted = self.waiting.pop(coroutine, (None, None))
        quiet = isinstance(wanted, Want) and wanted.quiet
        draws = not (quiet and isinstance(value[0], tuple) and value[0][1])
        if draws and (states := self.generators.get(coroutine)):
            set_global_generators(states, _device())
            torch.set_num_threads(1)  # runs that meet have one; one beside them may have had more
        answer = switch(*value)
        if coroutine.dead:
            self.generators.pop(coroutine, None)
            return answer
        if draws:
            self.generators[coroutine] = global_generators(_device())
        self.waiting[coroutine] = answer
        return answer

    def _meet(self) -> Iterator[tuple[greenlet, Any]]:
        """Yield tasks and answers to what they want; gradients once nobody wants anything else."""
        looks: dict[tuple[Hashable, Hashable], dict[greenlet, Look]] = {}
        wants: dict[Hashable, dict[greenlet, Want]] = {}
        torch.set_num_threads(1)  # for what is made here
        for coroutine, (kind, wanted) in self.waiting.items():
            if isinstance(wanted, Look):
                looks.setdefault((kind, wanted.key), {})[coroutine] = wanted
            else:
                wants.setdefault(kind, {})[coroutine] = wanted
        for key, of_tasks in looks.items():
            yield from zip(of_tasks, self._means(key, [*of_tasks.values()]), strict=True)
        for kind, wanted_by in () if looks else wants.items():
            yield from zip(wanted_by, self._answers(kind, [*wanted_by.values()]), strict=True)

    def _means(self, key: tuple[Hashable, Hashable], looks: list[Look]) -> list[Any]:
        """What models give for one set; None for each that is left to be evaluated alone."""
        several, models = self.looks.get(key[0]), [look.model for look in looks]
        if several is None or key in self.unseen or not several.stack.holds(models):
            return [None] * len(looks)
        if 2 * len(looks) < len(several.stack):
            return [None] * len(looks)
        try:
            return [*several.means(looks)]
        except Exception:  # whatever it is, each run meets it in its own place
            self.unseen.add(key)
            return [None] * len(looks)

    def _answers(self, kind: Hashable, wants: list[Want]) -> list[tuple[Any, bool]]:
        """Those to one kind's models, whose batches may have several shapes.

        Returns:
            Losses, None for each model that is left to do it alone; and whether it took a step.
        """
        several: dict[Hashable, list[int]] = {}
        for at, want in enumerate(wants):
            several.setdefault(want.shapes, []).append(at)
        answers: list[tuple[Any, bool]] = [(None, False)] * len(wants)
        for shapes, places in several.items():
            some = [wants[at] for at in places]
            try:
                found = (
                    self._stacked(kind, wants, some) if (kind, shapes) not in self.alone else None
                )
                if found is not None:
                    self.made.add((kind, shapes))
            except Exception as error:
                if (kind, shapes) in self.made and not isinstance(error, NotStackedError):
                    raise  # some may have taken their step
                # Whatever it is, each run meets it in its own place.
                self.alone[kind, shapes], found = " ".join(str(error).split()), None
                for param in (each for want in some for each in want.model.parameters()):
                    param.grad = None
            for at, answer in zip(places, found or [], strict=False):
                answers[at] = answer
        return answers

    def _stacked(
        self, kind: Hashable, wants: list[Want], some: list[Want]
    ) -> list[tuple[Any, bool]] | None:
        """The answers to some, made in one pass; None where that takes longer."""
        stack, models = self.stacks.get(kind), [want.model for want in wants]
        if stack is None or not stack.holds(models) or 2 * len(models) < len(stack):
            if len(models) < LEAST:
                return None
            stack = self.stacks[kind] = Stack(models, _programs(kind, len(models)))
            self.steps[kind] = Steps(stack, AGREED)
            self.looks[kind] = Looks(stack, _evaluations(kind, len(models)))
            self.seen.add((kind, len(models)))
        if 2 * len(some) < len(stack):
            return None
        losses, grads = stack.made(some)
        taken = self.steps[kind].step(some, grads)
        stack.give([want for want, done in zip(some, taken, strict=True) if not done], grads)
        return [*zip(losses, taken, strict=True)]
