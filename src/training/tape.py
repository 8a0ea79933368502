"""What a model does alone with a batch, recorded operation by operation, forwards and backwards."""

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from src.data import Drawn, read
from src.training.state import global_generators

aten = torch.ops.aten
Loss = Callable[..., Tensor]  # of a batch, for one model
Batch = Sequence[Tensor] | Drawn
# What follows may depend on the number, or on whether tensors are equal.
UNSEEN = (aten._local_scalar_dense.default, aten.equal.default)


class NotStackedError(Exception):
    """Why models can't be stacked."""


@dataclass(frozen=True)
class Slot:
    """The place of a value among those of a tape."""

    at: int


class Operation:
    """A call of an operator; a `Slot` stands for each value of the tape.

    Args:
        outs: where its results go; None for what is no tensor, or isn't needed.
    """

    def __init__(self, func: Any, args: Any, kwargs: Any, outs: Sequence[Slot | None]) -> None:
        self.func, self.args, self.kwargs, self.outs = func, tuple(args), kwargs, tuple(outs)
        self.leaves = tree_leaves((args, kwargs))
        self.slots = [each for each in self.leaves if isinstance(each, Slot)]
        flat = [each for each in args if isinstance(each, Slot)]
        self.plain = len(flat) == len(self.slots)  # none within a list

    def __call__(self, values: list[Any] | dict[int, Any]) -> None:
        """Read the values that it needs, and set those that come of it."""
        results = self.called(lambda slot: values[slot.at])
        for slot, result in zip(self.outs, results, strict=True):
            if slot is not None:
                values[slot.at] = result

    def called(self, value: Callable[[Slot], Any]) -> Sequence[Any]:
        """The results with these values."""
        if not self.plain:
            args, kwargs = self.filled(value)
            return several(self.func(*args, **kwargs))
        args = [value(each) if type(each) is Slot else each for each in self.args]
        return several(self.func(*args, **self.kwargs))

    def filled(self, value: Callable[[Slot], Any]) -> Any:
        """The arguments, by position and by name, with something in the place of each slot."""
        return tree_map_only(Slot, value, (self.args, self.kwargs))

    def without(self, slots: set[Slot]) -> "Operation":
        """The same, without some of the results."""
        outs = [None if slot in slots else slot for slot in self.outs]
        return Operation(self.func, self.args, self.kwargs, outs)


@dataclass
class Want:
    """The gradients of a model's loss, which is a function of a batch.

    Args:
        optimizer: to take a step along them.
        kind: what optimizers have in common that step with it; None where it isn't known yet, and
            False where it steps alone.
        quiet: whether the run draws nothing from torch's generators from its step to its next want.
    """

    model: nn.Module
    loss: Loss
    batch: Batch
    optimizer: Any = None
    kind: Any = None
    quiet: bool = False

    @property
    def shapes(self) -> Hashable:
        """Of the batch; what is done for a batch may depend on them."""
        if isinstance(self.batch, Drawn):  # of one source, and so of one shape but for the size
            return len(self.batch)
        return tuple((tensor.shape, tensor.dtype, tensor.device) for tensor in self.batch)


def together(batches: Sequence[Batch]) -> list[Tensor]:
    """The tensors of batches of the same shapes, with a leading axis."""
    drawn = [batch for batch in batches if isinstance(batch, Drawn)]
    if len(drawn) == len(batches):
        return read(drawn)
    return [torch.stack([*each]) for each in zip(*batches, strict=True)]


class Tape(TorchDispatchMode):
    """Records what is done to some tensors, and to those that come of them."""

    def __init__(self, inputs: Sequence[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.kept = [*inputs]  # so that no later tensor has the address of an earlier one
        self.slots = {id(tensor): Slot(at) for at, tensor in enumerate(inputs)}
        self.operations: list[Operation] = []

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # the wrapper that skips it imports torch's compiler, as slow as torch itself

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in UNSEEN:
            raise NotStackedError(f"{func.name()}: what it does may depend on a number")
        results = func(*args, **kwargs)
        given, named = tree_map_only(Tensor, self._or_slot, (args, kwargs))
        outs = tuple(self._slot(each) for each in several(results))
        self.operations.append(Operation(func, given, named, outs))
        return results

    def _or_slot(self, tensor: Tensor) -> Slot | Tensor:
        return self.slots.get(id(tensor), tensor)

    def _slot(self, tensor: Any) -> Slot | None:
        if not isinstance(tensor, Tensor):
            return None
        if id(tensor) not in self.slots:
            self.slots[id(tensor)] = Slot(len(self.kept))
            self.kept.append(tensor)
        return self.slots[id(tensor)]

    def of(self, tensors: Iterable[Tensor | None]) -> list[Slot]:
        """The slots of some tensors.

        Raises:
            NotStackedError: one comes of nothing that was recorded.
        """
        found = [self.slots.get(id(tensor)) for tensor in tensors]
        if None in found:
            raise NotStackedError("a gradient doesn't follow from the parameters")
        return [slot for slot in found if slot is not None]


def several(results: Any) -> Sequence[Any]:
    return results if isinstance(results, tuple | list) else (results,)


def record(want: Want) -> tuple[Tape, Slot, list[Slot]]:
    """What a model does alone, forwards and backwards; where its loss and its gradients are.

    Raises:
        NotStackedError: it draws random numbers, say.
    """
    params, batch = [*want.model.parameters()], [*want.batch]
    tape = Tape([*params, *want.model.buffers(), *batch])
    # A thread of autograd's own, as a GPU has one, would not be seen.
    one_thread = torch.autograd.set_multithreading_enabled(False)
    with _drawing_nothing(params[0].device), tape, one_thread:
        loss = want.loss(*batch)
        grads = torch.autograd.grad(loss, params, allow_unused=True)
    return tape, tape.of([loss])[0], tape.of(grads)


def record_values(model: nn.Module, values: Iterable[Tensor]) -> tuple[Tape, list[Slot]]:
    """What a model does for some values, forwards alone; where these are.

    Args:
        values: which are computed as they are asked for.

    Raises:
        NotStackedError: it draws random numbers, say.
    """
    tape = Tape([*model.parameters(), *model.buffers()])
    with _drawing_nothing(next(model.parameters()).device), torch.no_grad(), tape:
        results = [*values]
    return tape, tape.of(results)


@contextmanager
def _drawing_nothing(device: torch.device) -> Iterator[None]:
    """Raise NotStackedError where random numbers were drawn."""
    before = global_generators(device)
    yield
    after = global_generators(device)
    if not all(torch.equal(before[name], after[name]) for name in before):
        raise NotStackedError("the model draws random numbers")
