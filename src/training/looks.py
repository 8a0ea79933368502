"""Evaluations of several runs' models at once, each to the bit as alone."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from src.data import Split
from src.losses import Loss
from src.training.evaluation import evaluate, means, totals
from src.training.stack import Program, Stack, same
from src.training.tape import NotStackedError, record_values


@dataclass(frozen=True)
class Look:
    """The means over a set that are wanted of a model."""

    model: nn.Module
    loss: Loss
    data: Split

    def alone(self) -> dict[str, float]:
        return evaluate(self.model, self.loss, self.data)


class Looks:
    """Evaluates the models of a stack."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.programs: dict[int, tuple[list[str], Program]] = {}  # by the set, which they keep

    def means(self, looks: Sequence[Look]) -> list[dict[str, float]]:
        """What some of the models give for the same set.

        Raises:
            NotStackedError: it can't be had at once, or not to the bit; nothing changed.
        """
        key = id(looks[0].data.inputs)
        if key not in self.programs:
            self.programs[key] = self._prepare(looks)
        names, program = self.programs[key]
        program.run(self.stack.own)
        return self._means(looks, names, program.results())

    def _prepare(self, looks: Sequence[Look]) -> tuple[list[str], Program]:
        """The sums over the set's parts by name, compared with what each model gives alone."""
        first, names = looks[0], []
        was_training = first.model.training
        first.model.eval()
        try:
            parts = totals(first.model, first.loss, first.data)
            tape, sums = record_values(
                first.model, (total for name, total in parts if not names.append(name))
            )
        finally:
            first.model.train(was_training)
        program = Program(tape, sums, self.stack.copies())
        own = self.stack.copies()
        program.run(own)
        found = self._means(looks, names, program.results())
        alone = [look.alone() for look in looks]
        if not all(map(same, own, self.stack.own)) or repr(found) != repr(alone):
            raise NotStackedError("evaluated together they don't give what they give alone")
        return names, program

    def _means(
        self, looks: Sequence[Look], names: Sequence[str], sums: Sequence[Tensor]
    ) -> list[dict[str, float]]:
        columns = [each.tolist() for each in sums]
        rows = [self.stack.rows[id(look.model)] for look in looks]
        return [
            means(look.loss, look.data, zip(names, (each[row] for each in columns), strict=True))
            for look, row in zip(looks, rows, strict=True)
        ]
