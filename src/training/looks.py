"""Evaluations of several runs' models at once, each to the bit as alone."""

from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from src.data import Split
from src.losses import Loss
from src.training.evaluation import evaluate, means, totals
from src.training.stack import Program, Stack, same
from src.training.tape import NotStackedError, record_values

# By the ids of a set's tensors; the set is kept, so that no other has its ids.
Known = dict[Hashable, tuple[Split, list[str], Program]]


@dataclass(frozen=True)
class Look:
    """The means over a set that are wanted of a model."""

    model: nn.Module
    loss: Loss
    data: Split

    @property
    def key(self) -> Hashable:
        """Of the set."""
        return id(self.data.inputs), id(self.data.targets)

    def alone(self) -> dict[str, float]:
        return evaluate(self.model, self.loss, self.data)


class Looks:
    """Evaluates the models of a stack.

    Args:
        known: programs of stacks of as many models of the kind; it adds to them.
    """

    def __init__(self, stack: Stack, known: Known | None = None) -> None:
        self.stack, self.known = stack, {} if known is None else known
        self.programs: Known = {}

    def means(self, looks: Sequence[Look]) -> list[dict[str, float]]:
        """What some of the models give for the same set.

        Raises:
            NotStackedError: it can't be had at once, or not to the bit; nothing changed.
        """
        key = looks[0].key
        if key not in self.programs:
            self.programs[key] = self._prepare(looks)
        _, names, program = self.programs[key]
        program.run(self.stack.own)
        return self._means(looks, names, program.results())

    def _prepare(self, looks: Sequence[Look]) -> tuple[Split, list[str], Program]:
        """A set and the sums over its parts by name, compared with what each model gives alone."""
        alone = [look.alone() for look in looks]
        key = looks[0].key
        for names, program in self._programs(key, looks[0]):
            own = self.stack.copies()
            program.run(own)
            found = self._means(looks, names, program.results())
            if all(map(same, own, self.stack.own)) and repr(found) == repr(alone):
                self.known[key] = looks[0].data, names, program
                return self.known[key]
        raise NotStackedError("evaluated together they don't give what they give alone")

    def _programs(self, key: Hashable, first: Look) -> Iterator[tuple[list[str], Program]]:
        """Programs that may give the bits: one that did for others, and one made now."""
        if key in self.known:
            yield self.known[key][1:]
        names: list[str] = []
        was_training = first.model.training
        first.model.eval()
        try:
            parts = totals(first.model, first.loss, first.data)
            tape, sums = record_values(first.model, _named(parts, names))
        finally:
            first.model.train(was_training)
        yield names, Program(tape, sums, self.stack.copies())

    def _means(
        self, looks: Sequence[Look], names: Sequence[str], sums: Sequence[Tensor]
    ) -> list[dict[str, float]]:
        columns = [each.tolist() for each in sums]
        rows = [self.stack.rows[id(look.model)] for look in looks]
        return [
            means(look.loss, look.data, zip(names, (each[row] for each in columns), strict=True))
            for look, row in zip(looks, rows, strict=True)
        ]


def _named(parts: Iterable[tuple[str, Tensor]], names: list[str]) -> Iterator[Tensor]:
    """The tensors; their names are added to `names`."""
    for name, total in parts:
        names.append(name)
        yield total
