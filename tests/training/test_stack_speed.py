"""What makes a stack quick: nothing is done K times, laid out anew or computed too early."""

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from src.data import Split
from src.models import MLP
from src.training import stack
from src.training.looks import Look, Looks
from src.training.stack import Program, Stack
from src.training.tape import NotStackedError, Want
from tests.training.test_looks import CLASSES
from tests.training.test_stack import batches, cross_entropy, several
from tests.training.test_stack_forms import K, compare

aten = torch.ops.aten


def stacked(models: list[nn.Module], inputs: int = 64, classes: int = 10) -> Program:
    """The program of a step of models."""
    made = Stack(models)
    given = zip(models, batches(len(models), inputs, classes, 32), strict=True)
    made.made([Want(model, partial(cross_entropy, model), batch) for model, batch in given])
    (program,) = made.programs.values()
    return program


def test_a_step_of_a_small_network() -> None:
    """Five products and the loss as stacks; the loss itself only when it is asked for."""
    program = stacked(several(lambda: MLP(64, 10), 8))
    functions = [each.func for each in program.operations]
    names = [getattr(each, "__qualname__", "") for each in functions]
    assert "Program._one_by_one.<locals>.func" not in names
    assert stack._laid not in functions
    assert functions.count(stack._addmm) == 2 and functions.count(torch.bmm) == 3
    assert functions.count(stack._nll) == functions.count(stack._nll_backward) == 1
    assert aten.relu.default in functions and len(functions) <= 28
    assert [each.func for each in program.late] == [aten.nll_loss_forward.default]
    assert not program.aligned


def test_an_evaluation_of_a_small_network() -> None:
    data = Split(*batches(1, 64, 10, 50)[0])
    models = several(lambda: MLP(64, 10), 8)
    looks = Looks(Stack(models))
    looks.means([Look(model, CLASSES, data) for model in models])
    ((_, _, program),) = looks.programs.values()
    functions = [each.func for each in program.operations]
    assert functions.count(stack._addmm) == 1 and not program.late
    assert stack._laid not in functions and not program.aligned


@pytest.mark.parametrize(
    ("func", "trials"),
    [(aten.view.default, 0), (aten.t.default, 0), (aten.relu.default, 1), (aten.mul.Tensor, 1),
     (aten.mm.default, 2), (aten.sum.dim_IntList, 2), (aten.relu_.default, 1)],
)  # fmt: skip
def test_how_often_a_form_is_tried(func: object, trials: int) -> None:
    """A view adds nothing up and changes nothing; a sum may agree by chance."""
    assert stack._trials(func) == trials


@pytest.mark.parametrize(
    ("shape", "steps", "row"),
    [
        ((3, 4, 5), (5, 1), 32),  # 20 numbers are 80 bytes: two times 64
        ((3, 4, 4), (4, 1), 16),  # just 64 bytes
        ((3, 4, 4), (1, 4), 16),
        ((3,), (), 16),  # one number
        ((3, 0), (1,), 16),
        ((2, 17), (1,), 32),
    ],
)
def test_how_rows_are_laid_out(shape: tuple[int, ...], steps: tuple[int, ...], row: int) -> None:
    rows = torch.randn(shape)
    made = stack._laid(rows, steps)
    assert torch.equal(made, rows) and made.stride() == (row, *steps)
    assert stack._aligned(made)


def test_which_rows_begin_as_memory_of_their_own() -> None:
    assert stack._aligned(torch.empty(3, 16)) and stack._aligned(torch.empty(3, 32))
    assert not stack._aligned(torch.empty(3, 17)) and not stack._aligned(torch.empty(0, 16))
    assert stack._aligned(torch.empty(1, 16)) and stack._aligned(torch.empty(3, 8).double())
    assert not stack._aligned(torch.empty(3, 4).double())


class Joining(MLP):
    """Puts tensors together, which are in a list for torch."""

    def __init__(self) -> None:
        super().__init__(8, 3, (5,))

    def forward(self, inputs: Tensor) -> Tensor:
        logits = super().forward(torch.cat([inputs, 0.5 * inputs[:, :2]], 1))
        return torch.stack([logits, torch.add(logits, logits.relu(), alpha=2)]).mean(0)


def test_tensors_in_a_list() -> None:
    compare(Joining, cross_entropy, batches(K, 6, 3, 8), Stack(several(Joining, K)))


class Buffered(MLP):
    """Adds a number of its own to a buffer, which changes no gradient."""

    def __init__(self, amount: float) -> None:
        super().__init__(6, 3, (5,))
        self.amount = amount
        self.register_buffer("count", torch.zeros(2))

    def forward(self, inputs: Tensor) -> Tensor:
        self.count += self.amount  # type: ignore[operator]
        return super().forward(inputs)


def test_buffers_are_compared_too() -> None:
    """What was recorded of one model isn't what another does to its buffers."""
    models: list[nn.Module] = [Buffered(amount) for amount in (1.0, 1.0, 1.0, 2.0)]
    with pytest.raises(NotStackedError, match="don't give the bits"):
        stacked(models, 6, 3)
    assert all(not model.count.any() for model in models), "nothing changed"  # type: ignore[union-attr, operator]
    alike: list[nn.Module] = [Buffered(1.0) for _ in range(4)]
    stacked(alike, 6, 3)
    assert all(model.count.tolist() == [1.0, 1.0] for model in alike)  # type: ignore[union-attr, operator]


def test_an_evaluation_is_recorded_once_for_stacks_of_as_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A stack is made anew when runs have ended, and there are many of the same size."""
    from src.training import looks as module

    recorded, real = list[object](), module.record_values

    def record(model: nn.Module, values: Any) -> Any:
        recorded.append(model)
        return real(model, values)

    monkeypatch.setattr(module, "record_values", record)
    data, known = Split(*batches(1, 64, 10, 50)[0]), dict[Any, Any]()
    for _ in range(2):
        models = several(lambda: MLP(64, 10), 4)
        looked = [Look(model, CLASSES, data) for model in models]
        found = Looks(Stack(models), known).means(looked)
        assert found == [look.alone() for look in looked]
    assert len(recorded) == 1
