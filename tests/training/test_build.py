"""What is built of a config, and the sizes of data that are refused."""

from typing import Any

import pytest
import torch
from torch import nn

from src.config import parse
from src.data import Split
from src.errors import InputError
from src.losses import CrossEntropy
from src.shapes import Shapes
from src.training.build import assemble, build_pair, load_data, steps_in_all
from src.training.evaluation import Evaluator
from tests.helpers import composed

TRAINED, ALL = 1150, 1438  # of the digits, at the default fraction of 0.2


class Half:
    """Data with so many samples to train on."""

    def __init__(self, size: int) -> None:
        self.train = Split(torch.zeros(size, 1), torch.zeros(size, dtype=torch.long))


@pytest.mark.parametrize(("size", "batch", "steps"), [(10, 4, 9), (8, 4, 6), (1, 1, 3), (4, 4, 3)])
def test_steps_of_three_epochs(size: int, batch: int, steps: int) -> None:
    """The last batch of an epoch may be smaller."""
    config = parse(composed("trainer.epochs=3", f"data.batch_size={batch}"))
    data: Any = Half(size)
    assert steps_in_all(config, data) == steps


@pytest.mark.parametrize(("given", "steps"), [("null", 108), ("7", 7)])
def test_a_method_gets_the_runs_number_of_steps(given: str, steps: int) -> None:
    """The schedule's number, unless the config says another."""
    given = f"optimizer.total_steps={given}"
    config = parse(composed("optimizer=ademamix", "trainer.epochs=3", given))
    parts = assemble(config)
    assert parts.schedule.total_steps == 108
    assert [group["total_steps"] for group in parts.optimizer.param_groups] == [steps]


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        ([f"data.batch_size={TRAINED + 1}"],
         f"data.validation_fraction=0.2: leaves {TRAINED} of {ALL} samples to train on; "
         f"data.batch_size={TRAINED + 1}: must be from 1 to {TRAINED}"),
        ([f"data.batch_size={ALL}"],
         f"data.validation_fraction=0.2: leaves {TRAINED} of {ALL} samples to train on; "
         f"data.batch_size={ALL}: must be from 1 to {TRAINED}"),
        ([f"data.batch_size={ALL + 1}"],
         f"data.batch_size={ALL + 1}: must be from 1 to {TRAINED}, the size of the training set"),
        (["data.validation_fraction=0.9999"],
         f"data.validation_fraction=0.9999: leaves 0 of {ALL} samples to train on"),
        (["data.validation_fraction=0.0001"],
         "data.validation_fraction=0.0001: leaves no sample for trainer.evaluate=['val']"),
        (["data.validation_fraction=0.0001", "trainer.evaluate=[train]",
          "objective.metric=train_loss", "trainer.evaluate_at_end=[val]"],
         "data.validation_fraction=0.0001: leaves no sample for trainer.evaluate=['train']"),
    ],
)  # fmt: skip
def test_sizes_that_are_refused(overrides: list[str], says: str) -> None:
    with pytest.raises(InputError) as refused:
        load_data(parse(composed(*overrides)))
    assert str(refused.value) == says


def test_sizes_at_the_edge() -> None:
    assert len(load_data(parse(composed(f"data.batch_size={TRAINED}"))).train) == TRAINED


def test_the_seed_makes_the_weights_and_the_device_holds_them() -> None:
    config = parse(composed("seed=3"))
    (first, optimizer), (second, _) = (
        build_pair(config, torch.device(device), Shapes((1, 8, 8), classes=10), CrossEntropy(), 1)
        for device in ("cpu", "meta")
    )
    assert all(param.device.type == "meta" for param in second.parameters())
    assert [param.shape for param in first.parameters()] == [
        param.shape for param in second.parameters()
    ]
    held = [param for group in optimizer.param_groups for param in group["params"]]
    assert all(param is own for param, own in zip(held, first.parameters(), strict=True))
    torch.manual_seed(3)
    assert torch.equal(next(first.parameters()), nn.Linear(64, 100).weight)


def test_the_seconds_of_evaluations_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter([10.0, 10.5, 20.0, 22.0])
    evaluator = Evaluator(assemble(parse(composed())), ["val"])
    monkeypatch.setattr("time.perf_counter", lambda: next(ticks))
    assert set(evaluator()) == {"val_loss", "val_accuracy"} and evaluator.seconds == 0.5
    evaluator()
    assert evaluator.seconds == 2.5


@pytest.mark.parametrize(
    ("problem", "outer"),
    [
        ("digits", []),
        ("digits_cnn", ["blocks.0.weight", "head.weight", "head.bias"]),
        ("matrix_factorization", ["vectors.weight"]),
        ("text", ["tokens.weight", "positions.weight", "head.weight", "head.bias"]),
    ],
)
def test_embeddings_and_outer_layers_are_marked_as_not_hidden(
    problem: str, outer: list[str]
) -> None:
    model = assemble(parse(composed(f"problem={problem}"))).model
    named = model.named_parameters()
    assert [name for name, each in named if not getattr(each, "hidden", True)] == outer
