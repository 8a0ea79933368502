"""The gradients of K models at once, to the bit as each has them alone.

What one model does alone is recorded (`src.training.tape`). Each operation is then done for all K
on a leading axis, in a form that was seen to give the same bits; where none does, it is done K
times.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import vmap
from torch.utils._pytree import tree_leaves

from src.training.compiled import compiled
from src.training.tape import (
    NotStackedError,
    Operation,
    Slot,
    Tape,
    Want,
    record,
    several,
    together,
)

aten = torch.ops.aten
TRIALS = 2  # with drawn numbers, of each form of an operation
ALIGNED = 64  # bytes; memory of its own begins so, and products may depend on it to the bit
LIKE = {  # what these return follows from a shape
    *(getattr(aten, name).default for name in ("ones_like", "zeros_like", "empty_like")),
    *(getattr(aten, name).default for name in ("full_like", "new_zeros", "new_ones", "new_full")),
}

# What `vmap` makes of these imports torch's compiler, as slow as torch itself.
UNMAPPED = (aten.nll_loss_forward.default, aten.nll_loss_backward.default)


class Program:
    """What one model does, for K models: on values with a leading axis.

    Args:
        tape: of one of them, on its parameters and buffers, and a batch.
        wanted: the values that are computed.
        inputs: those of all K, each with the leading axis. They may change.
        loss: a value that is computed when it is asked for; at once if it is read from inputs that
            change between.
        changing: how many of the inputs, the first of them, do.
        aligned: whether the rows of every value begin as memory of their own would. It takes time,
            and few operations depend on it.

    Raises:
        NotStackedError: it changes a constant.
    """

    def __init__(
        self,
        tape: Tape,
        wanted: Sequence[Slot],
        inputs: Sequence[Tensor],
        loss: Slot | None = None,
        *,
        changing: int = 0,
        aligned: bool = False,
    ) -> None:
        self.aligned, self.count = aligned, len(wanted)
        self.size, self.tape = len(inputs[0]), tape
        self.generator = torch.Generator().manual_seed(0)
        self.values: list[Any] = [*inputs, *[None] * (len(tape.kept) - len(inputs))]
        self.leading = {Slot(at) for at in range(len(inputs))}
        self.operations: list[Operation] = []
        for operation in _alive(tape.operations, {*wanted, *self.leading}):
            self.operations += self._chosen(operation)
        self.loss, self.late = loss, self._rest(loss) if loss else []
        if {*map(_storage, inputs[:changing])} & {
            _storage(self.values[slot.at]) for slot in _given(self.late)
        }:
            self.operations += [one for each in self.late for one in self._chosen(each)]
            self.late = []
        self.needed = _given(self.late, [loss] if loss else [])
        constants = {
            slot: self.values[slot.at]
            for slot in _given(self.operations, [*wanted, *self.needed])
            if slot not in self.leading
        }
        given = [Slot(at) for at in range(len(inputs))]
        self.function = compiled(self.operations, given, constants, [*wanted, *self.needed])
        del self.tape, self.generator, self.values
        self.found: Sequence[Any] = ()

    def forget(self) -> None:
        """Drop the values of the last run."""
        self.found = ()

    def _rest(self, loss: Slot) -> list[Operation]:
        """What is still to do for the loss; of an operation, some results may be there."""
        done = {
            *self.leading,
            *(Slot(at) for at, each in enumerate(self.values) if each is not None),
        } - {loss}
        left = [each.without(done) for each in self.tape.operations]
        return _alive([each for each in left if any(each.outs)], {loss})

    def known(self) -> dict[Slot, Any]:
        """What the loss follows from."""
        return dict(zip(self.needed, self.found[self.count :], strict=True))

    def loss_of(self, known: dict[Slot, Any], row: int) -> Tensor:
        """The loss of one model."""
        values = {
            slot.at: value[row] if slot in self.leading else value for slot, value in known.items()
        }
        for operation in self.late:
            operation(values)
        assert self.loss is not None
        loss: Tensor = values[self.loss.at]
        return loss

    def results(self) -> list[Tensor]:
        """The wanted values, with the leading axis."""
        return [*self.found[: self.count]]

    def run(self, inputs: Sequence[Tensor]) -> None:
        """Compute the values of other inputs; some of these may change."""
        self.found = self.function(*inputs)

    def _chosen(self, operation: Operation) -> list[Operation]:
        """The operation in the first form that gives the bits of the models alone."""
        if operation.func in LIKE or self.leading.isdisjoint(operation.slots):
            if operation.func._schema.is_mutable:
                raise NotStackedError(f"{operation.func.name()} changes a constant")
            for slot in operation.outs:
                if slot is not None:
                    self.values[slot.at] = self.tape.kept[slot.at]
            return []
        if not self.leading.issuperset(_written(operation)):
            raise NotStackedError(f"{operation.func.name()} changes a constant")
        outs = [slot for slot in operation.outs if slot is not None]
        single, forms = self._one_by_one(operation), (self._by_hand, self._mapped)
        read = [_copy(self.values[slot.at]) for slot in operation.slots if slot in self.leading]
        single(self.values)
        now = [self.values[slot.at] for slot in operation.slots if slot in self.leading]
        changes = not all(map(same, read, now))  # batch norm's doesn't say that it does
        alone = [self.values[slot.at] for slot in outs]
        self.leading |= {*outs}
        for make in () if changes or operation.func._schema.is_mutable else forms:
            form = make(operation)
            if not form or not self._gives(form, outs, alone, self.values):
                continue
            trials = range(_trials(operation.func))
            if all(self._gives_of_others(form, single, outs) for _ in trials):
                return form
        for slot, value in zip(outs, alone, strict=True):
            self.values[slot.at] = value
        return [single]

    def _gives_of_others(self, form: list[Operation], single: Operation, outs: list[Slot]) -> bool:
        """Whether it gives the same of other numbers: sums may agree by chance."""
        values = [*self.values]
        for slot in single.slots:
            value = values[slot.at]
            if slot in self.leading and value.is_floating_point():
                drawn = torch.randn(value.shape, generator=self.generator, dtype=value.dtype)
                values[slot.at] = _laid(drawn.to(value.device), value.stride()[1:])
        single(values)
        return self._gives(form, outs, [values[slot.at] for slot in outs], values)

    def _gives(
        self, form: list[Operation], outs: list[Slot], alone: list[Tensor], values: list[Any]
    ) -> bool:
        """Whether it gives the same; a value that lies otherwise in memory is laid out so, too."""
        try:
            for operation in form:
                operation(values)
        except (RuntimeError, TypeError, IndexError):  # it can't be done so
            return False
        found = [values[slot.at] for slot in outs]
        if not all(map(same, found, alone)):
            return False
        for slot, value, like in zip(outs, found, alone, strict=True):
            if value[0].stride() != like[0].stride() or (self.aligned and not _aligned(value)):
                form.append(Operation(_laid, (slot, like[0].stride()), {}, (slot,)))
                form[-1](values)
        return True

    def _one_by_one(self, operation: Operation) -> Operation:
        """K times, and the results put together; what changes in place changes there."""
        led = [slot in self.leading for slot in operation.slots]
        own = {slot for slot in operation.outs if slot in operation.slots}
        bare = [*operation.args] == operation.slots and not operation.kwargs  # nothing else

        def func(*values: Tensor) -> Any:
            columns = [
                value.unbind() if leads else [value] * self.size
                for value, leads in zip(values, led, strict=True)
            ]
            rows = zip(*columns, strict=True)
            results = (
                [several(operation.func(*row)) for row in rows]
                if bare
                else [operation.called(partial(_next, iter(row))) for row in rows]
            )
            made = [
                None if slot is None or slot in own else _rows(all_k)
                for slot, all_k in zip(operation.outs, zip(*results, strict=True), strict=True)
            ]
            return made if len(made) > 1 else made[0]

        return Operation(func, operation.slots, {}, operation.without(own).outs)

    def _by_hand(self, operation: Operation) -> list[Operation]:
        """As torch has it for stacks, where `vmap` would take a longer way."""
        func = STACKED.get(operation.func)
        if func is None or operation.kwargs:
            return []
        return [Operation(func, operation.args, {}, operation.outs)]

    def _mapped(self, operation: Operation) -> list[Operation]:
        """What `torch.func.vmap` makes of it."""
        if operation.func in UNMAPPED:
            return []
        slots = [*dict.fromkeys(operation.slots)]
        inputs = [self.values[slot.at] for slot in slots]

        def once(*tensors: Tensor) -> Any:
            return tuple(operation.called(dict(zip(slots, tensors, strict=True)).__getitem__))

        try:
            with Tape(inputs) as tape:
                led = tuple(0 if slot in self.leading else None for slot in slots)
                results = several(vmap(once, in_dims=led)(*inputs))
        except (NotStackedError, RuntimeError, ValueError):
            return []
        ours = dict(enumerate(slots))  # place on that tape -> slot here
        for slot, result in zip(operation.outs, results, strict=True):
            if slot is not None and id(result) in tape.slots:
                ours.setdefault(tape.slots[id(result)].at, slot)
        for at in range(len(tape.kept)):
            if at not in ours:
                ours[at] = Slot(len(self.values))
                self.values.append(None)
        needed = {slot for slot in operation.outs if slot is not None}
        return _alive([_moved(each, ours) for each in tape.operations], needed)


def _given(operations: Iterable[Operation], wanted: Iterable[Slot] = ()) -> list[Slot]:
    """What the operations, and who wants values afterwards, read but don't make."""
    made: set[Slot | None] = set()
    given: dict[Slot, None] = {}
    for operation in operations:
        given |= dict.fromkeys(slot for slot in operation.slots if slot not in made)
        made |= {*operation.outs}
    return [*(given | dict.fromkeys(slot for slot in wanted if slot not in made))]


def _alive(operations: Sequence[Operation], needed: set[Slot]) -> list[Operation]:
    """The operations, and the results of each, that are needed, or that change what is needed."""
    needed, kept = {*needed}, []
    for operation in reversed(operations):
        outs = {slot for slot in operation.outs if slot is not None}
        changes = operation.func._schema.is_mutable and not needed.isdisjoint(operation.slots)
        if changes or not needed.isdisjoint(outs):
            kept.append(operation.without(outs - needed))
            if operation.func not in LIKE:
                needed |= {*operation.slots}
    return kept[::-1]


def _trials(func: Any) -> int:
    """How often a form is tried with drawn numbers; what adds nothing up agrees by no chance."""
    if all(each.alias_info and not each.alias_info.is_write for each in func._schema.returns):
        return 0  # a view
    return 1 if torch.Tag.pointwise in func.tags else TRIALS


def _next(values: Iterator[Any], slot: Slot) -> Any:
    return next(values)


def _moved(operation: Operation, ours: dict[int, Slot]) -> Operation:
    args, kwargs = operation.filled(lambda slot: ours[slot.at])
    outs = [slot and ours[slot.at] for slot in operation.outs]
    return Operation(operation.func, args, kwargs, outs)


def _written(operation: Operation) -> list[Slot]:
    """The slots whose values an operation changes in place."""
    arguments = operation.func._schema.arguments
    given = {**dict(enumerate(operation.args)), **operation.kwargs}
    written = [
        given.get(at, given.get(argument.name))
        for at, argument in enumerate(arguments)
        if argument.alias_info is not None and argument.alias_info.is_write
    ]
    return [each for each in tree_leaves(written) if isinstance(each, Slot)]


def _rows(tensors: Sequence[Tensor]) -> Tensor:
    """Tensors put together, each laid out as it was."""
    rows, steps = torch.stack([*tensors]), tensors[0].stride()
    steps = rows.stride()[1:] if 0 in steps else steps  # expanded: one number in many places
    return rows if rows.stride()[1:] == steps and _aligned(rows) else _laid(rows, steps)


def _aligned(rows: Tensor) -> bool:
    """Whether each row begins as its own memory would."""
    return len(rows) > 0 and rows.stride(0) * rows.element_size() % ALIGNED == 0


def _laid(rows: Tensor, steps: Sequence[int]) -> Tensor:
    """The same rows, each laid out with these strides, and beginning as its own memory would."""
    extent = 1 + sum((size - 1) * step for size, step in zip(rows.shape[1:], steps, strict=True))
    each = rows.element_size()
    room = -(-max(1, extent) * each // ALIGNED) * ALIGNED // each
    made = torch.empty_strided(rows.shape, (room, *steps), dtype=rows.dtype, device=rows.device)
    return made.copy_(rows)


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _copy(rows: Tensor) -> Tensor:
    return _laid(rows, rows.stride()[1:])


def _addmm(bias: Tensor, left: Tensor, right: Tensor) -> Tensor:
    return torch.baddbmm(bias.unsqueeze(1), left, right)


def _nll(logs: Tensor, targets: Tensor, weight: Tensor | None, how: int, ignored: int) -> Any:
    """The number of samples that count; the loss itself is left to `Later`."""
    _unweighted(weight)
    return None, (targets != ignored).sum(1).to(logs.dtype)


def _nll_backward(
    grad: Tensor, logs: Tensor, targets: Tensor, weight: Tensor | None, how: int, ignored: int,
    total: Tensor,
) -> Tensor:  # fmt: skip
    _unweighted(weight)
    none = targets == ignored
    each = torch.where(none, 0.0, (-grad / total).view(-1, 1)).unsqueeze(2)
    return torch.zeros_like(logs).scatter_(2, targets.masked_fill(none, 0).unsqueeze(2), each)


def _unweighted(weight: Tensor | None) -> None:
    """Refuse weights of classes: the targets at hand may have a sum of weights by chance."""
    if weight is not None:
        raise TypeError("classes have weights")


STACKED: dict[Any, Callable[..., Any]] = {
    aten.mm.default: torch.bmm,
    aten.addmm.default: _addmm,
    aten.nll_loss_forward.default: _nll,
    aten.nll_loss_backward.default: _nll_backward,
}


def same(one: Tensor | None, other: Tensor) -> bool:
    """Whether all bits agree, but for those of numbers that are none."""
    if one is None or one.shape != other.shape or one.dtype != other.dtype:
        return False
    return torch.equal(one, other) or bool(((one == other) | (one.isnan() & other.isnan())).all())


class Stack:
    """Models of one kind, whose parameters and buffers lie in common memory from now on.

    Args:
        models: with parameters and buffers of the same shapes, which all need gradients.
        known: programs of stacks of as many models of the kind, by the shapes of batches; it adds
            to them.

    Raises:
        NotStackedError: they aren't alike.
    """

    def __init__(
        self, models: Sequence[nn.Module], known: dict[Hashable, Program] | None = None
    ) -> None:
        self.known = {} if known is None else known
        self.rows = {id(model): row for row, model in enumerate(models)}
        self.models = [*models]  # so that their ids stay theirs
        params = [[*model.parameters()] for model in models]
        buffers = [[*model.buffers()] for model in models]
        tensors = [[*own, *others] for own, others in zip(params, buffers, strict=True)]
        if len({tuple((each.shape, each.dtype) for each in some) for some in tensors}) > 1:
            raise NotStackedError("the models have parameters of other shapes")
        if not params[0] or not all(param.requires_grad for some in params for param in some):
            raise NotStackedError("a parameter needs no gradient")
        self.params = params
        self.own = [self._together(each) for each in zip(*tensors, strict=True)]
        self.buffers = self.own[len(params[0]) :]
        self.programs: dict[Hashable, Program] = {}  # those that give the bits of these models

    def __len__(self) -> int:
        return len(self.models)

    def holds(self, models: Iterable[nn.Module]) -> bool:
        """Whether all of them are in it."""
        return all(id(model) in self.rows for model in models)

    @staticmethod
    def _together(tensors: Sequence[Tensor]) -> Tensor:
        """Move tensors of one shape into rows of one."""
        rows = _rows([tensor.detach() for tensor in tensors])
        for row, tensor in zip(rows.unbind(), tensors, strict=True):
            tensor.data = row
        return rows

    def gradients(self, wants: Sequence[Want]) -> list["Later"]:
        """Give each model's parameters the gradients that are wanted; return the losses.

        Args:
            wants: for models in it, each once; with batches of the same shapes.

        Raises:
            NotStackedError: it can't be done for these models, or not to the bit; nothing changed.
        """
        losses, grads = self.made(wants)
        self.give(wants, grads)
        return losses

    def give(self, wants: Sequence[Want], grads: Sequence[Tensor]) -> None:
        """Give each model's parameters their gradients, of those of all rows."""
        unbound = [_copy(each).unbind() for each in grads] if wants else []
        for want in wants:
            row = self.rows[id(want.model)]
            for param, of_all in zip(self.params[row], unbound, strict=True):
                param.grad = of_all[row]

    def made(self, wants: Sequence[Want]) -> tuple[list["Later"], list[Tensor]]:
        """The losses, and for each parameter the gradients of all rows, (rows, *shape)."""
        rows = [self.rows[id(want.model)] for want in wants]
        batches = [wants[0].batch] * len(self)  # for those that want nothing
        for row, want in zip(rows, wants, strict=True):
            batches[row] = want.batch
        inputs = [rows if _aligned(rows) else _copy(rows) for rows in together(batches)]
        if (program := self.programs.get(wants[0].shapes)) is None:
            program = self.programs[wants[0].shapes] = self._prepare(rows, wants, inputs)
        rest = [row for row in range(len(self)) if row not in rows] if self.buffers else []
        kept = [each[rest] for each in self.buffers] if rest else []
        program.run([*self.own, *inputs])
        for each, values in zip(self.buffers, kept, strict=False):
            each[rest] = values
        known = program.known()
        return [Later(program, known, row) for row in rows], program.results()

    def _prepare(self, rows: list[int], wants: Sequence[Want], inputs: list[Tensor]) -> Program:
        """The program for batches of these shapes, compared with what each model does alone."""
        before, shapes = self.copies(), wants[0].shapes
        try:
            alone = [
                torch.autograd.grad(want.loss(*want.batch), self.params[row], allow_unused=True)
                for row, want in zip(rows, wants, strict=True)
            ]
            after = self.copies()
        finally:
            self._put(before)
        if any(grad is None for grads in alone for grad in grads):
            raise NotStackedError("a gradient doesn't follow from the parameters")
        for program in self._programs(wants[0], inputs):
            own = [*map(_copy, before)]
            program.run([*own, *inputs])
            right = [
                same(of_all[row], grad)
                for row, grads in zip(rows, alone, strict=True)
                for of_all, grad in zip(program.results(), grads, strict=True)
            ]
            right += [same(here[rows], there[rows]) for here, there in zip(own, after, strict=True)]
            if all(right):
                self.known[shapes] = program
                return program
        raise NotStackedError("together they don't give the bits that they give alone")

    def _programs(self, want: Want, inputs: list[Tensor]) -> Iterator[Program]:
        """Programs that may give the bits: one that did for others, and those made now."""
        if want.shapes in self.known:
            yield self.known[want.shapes]
        before = self.copies()
        for aligned in (False, True):
            try:
                tape, loss, grads = record(want)
                own = self.copies()
                made = Program(
                    tape, grads, [*own, *inputs], loss, changing=len(own), aligned=aligned
                )
            finally:
                self._put(before)
            yield made

    def copies(self) -> list[Tensor]:
        """Of the parameters and buffers of all."""
        return [*map(_copy, self.own)]

    def _put(self, values: Sequence[Tensor]) -> None:
        for rows, value in zip(self.own, values, strict=True):
            rows.copy_(value)


class Later:
    """A loss that is computed when it is asked for; few are."""

    def __init__(self, program: Program, known: dict[Slot, Tensor], row: int) -> None:
        self.program, self.known, self.row = program, known, row

    def item(self) -> float:
        """As a number, to the bit as the model has it alone."""
        return self.program.loss_of(self.known, self.row).item()

    __float__ = item
