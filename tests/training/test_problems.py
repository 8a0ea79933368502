"""Runs of other data, models and losses than pictures and classes: to the same bits, or refused."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from src.config import parse
from src.data import Dataset, Split
from src.errors import InputError
from src.losses import CrossEntropy
from src.replay import replay
from src.shapes import Shapes
from src.targets import ALLOWED_TARGETS
from src.training.build import build_model
from src.training.rehearsal import check
from tests.helpers import Session, composed, result, timeless

HERE = "tests.training.test_problems"


def words(rows: int = 90, length: int = 5) -> Dataset:
    """Sequences of tokens, of which the next is to be told."""
    text = torch.randint(0, 7, (rows, length + 1), generator=torch.Generator().manual_seed(0))
    whole = Split(text[:, :-1], text[:, 1:])
    cut = torch.arange(rows)
    return Dataset(whole.take(cut[20:]), whole.take(cut[:20]), classes=7, vocabulary=7)


def numbers(shift: float = 0.0, rows: int = 90) -> Dataset:
    x = torch.randn(rows, 4, generator=torch.Generator().manual_seed(0))
    y = x.sum(1) + shift
    return Dataset(Split(x[20:], y[20:]), Split(x[:20], y[:20]))


class Reader(nn.Module):
    """An embedding, dropout and batch norm over positions."""

    def __init__(self, vocabulary: int, length: int, num_classes: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, 6)
        self.norm, self.dropout = nn.BatchNorm1d(length), nn.Dropout(0.2)
        self.out = nn.Linear(6, num_classes)

    def forward(self, tokens: Tensor) -> Tensor:
        outputs: Tensor = self.out(self.dropout(self.norm(self.embedding(tokens))))
        return outputs


@pytest.fixture(autouse=True)
def allowed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("src.targets.ALLOWED_TARGETS", [*ALLOWED_TARGETS, f"{HERE}.*"])
    yield


TEXT = ("data=bare", f"data._target_={HERE}.words", "data.batch_size=16", "model=bare",
        f"model._target_={HERE}.Reader", "trainer.evaluate_every=20")  # fmt: skip
REAL = ("data=bare", f"data._target_={HERE}.numbers", "data.batch_size=16", "loss=mse")


@pytest.mark.parametrize(
    "extra",
    [
        (),
        ("data.drop_last=true", "data.shuffle=false"),
        ("trainer.clip_norm=0.5", "trainer.accumulate=3"),
        ("loss.class_weights=balanced", "loss.label_smoothing=0.1", "optimizer=muon"),
    ],
)
def test_goes_on_and_is_repeated_to_the_bit(session: Session, extra: tuple[str, ...]) -> None:
    """With an embedding, batch norm and dropout; from a checkpoint in the midst of an epoch."""
    whole, part = session.folder / "whole", session.folder / "part"
    answer = session.train(*TEXT, *extra, "trainer.epochs=4", f"hydra.run.dir={whole}")
    assert (answer.status, answer.err) == (0, "")
    answer = session.train(*TEXT, *extra, "trainer.epochs=2", f"hydra.run.dir={part}")
    assert answer.status == 0
    answer = session.train(f"resume={part}", "trainer.epochs=4")
    assert (answer.status, answer.err) == (0, "")
    assert timeless(part) == timeless(whole)
    assert result(part)["weights_sha256"] == result(whole)["weights_sha256"]
    assert replay(whole, session.folder / "again")
    losses = [row["val_loss"] for row in timeless(whole)]
    assert len({*losses}) == len(losses) >= 8


@pytest.mark.parametrize("setting", ["loss.label_smoothing=0.1", "trainer.clip_norm=0.01",
                                     "data.shuffle=false", "data.drop_last=true"])  # fmt: skip
def test_each_setting_changes_the_run(session: Session, setting: str) -> None:
    weights = []
    for number, extra in enumerate([(), (setting,)]):
        folder = session.folder / str(number)
        answer = session.train(*TEXT, *extra, "trainer.epochs=1", f"hydra.run.dir={folder}")
        assert answer.status == 0, answer.err
        weights.append(result(folder)["weights_sha256"])
    assert weights[0] != weights[1]


def test_a_metric_of_the_loss_is_the_objective(session: Session) -> None:
    folder = session.folder / "run"
    watched = ("objective.metric=val_mae", "trainer.evaluate_at_end=[test]")
    answer = session.train(*REAL, *watched, f"hydra.run.dir={folder}", "trainer.epochs=3")
    assert (answer.status, answer.err) == (0, "")
    ended = result(folder)
    assert ended["objective"]["value"] == min(row["val_mae"] for row in timeless(folder))
    assert ended["at_end"].keys() == {"test_loss", "test_mae"}


class Wide(nn.Linear):
    """Takes what models always got: two numbers."""


class Asks(nn.Module):
    def __init__(
        self, out_shape: Any, in_shape: Any, depth: int = 2, out_features: int = 0
    ) -> None:
        super().__init__()
        self.asked = (in_shape, out_shape, out_features, depth)


class Everything(nn.Module):
    def __init__(self, **named: Any) -> None:
        super().__init__()
        self.asked = named


class Any2(nn.Module):
    """Passes on whatever it gets."""

    def __init__(self, *sizes: int, **named: Any) -> None:
        super().__init__()
        self.asked = (sizes, named)


class Half(nn.Module):
    """Names the first of the two that models always got, and calls the second otherwise."""

    def __init__(self, in_features: int, outputs: int) -> None:
        super().__init__()
        self.asked = (in_features, outputs)


IMAGES, TOKENS = Shapes((3, 8, 8), classes=10), Shapes((5,), (5,), classes=7, vocabulary=9)


def built(name: str, shapes: Shapes, **settings: Any) -> Any:
    loss = CrossEntropy()
    loss.bind(shapes)
    return build_model({"_target_": f"{HERE}.{name}", **settings}, shapes, loss.shape)


def test_a_model_asks_for_shapes_by_name() -> None:
    assert built("Wide", IMAGES).weight.shape == (10, 192)
    assert built("Asks", IMAGES, depth=3).asked == ((3, 8, 8), (10,), 10, 3)
    assert built("Asks", TOKENS, out_features=1).asked == ((5,), (5, 7), 1, 2)
    assert built("Everything", TOKENS, x=1).asked == {"num_classes": 7, "x": 1}
    assert built("Any2", IMAGES, x=1).asked == ((192, 10), {"x": 1})
    assert built("Half", IMAGES).asked == (192, 10)
    assert built("Reader", TOKENS).embedding.weight.shape == (9, 6)


def test_models_of_torchvision() -> None:
    model = build_model({"_target_": "torchvision.models.resnet18"}, IMAGES, (10,))
    assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 10)


def made(train: Split, test: Split, **kinds: int) -> Dataset:
    return Dataset(train, test, **kinds)


def wrong(how: str) -> Dataset:
    x, y = torch.zeros(90, 4), torch.arange(90) % 3
    good = Split(x, y)
    return {
        "labels": made(good, Split(x, y + 1), classes=3),
        "negative": made(Split(x, y - 1), good, classes=3),
        "hole": made(Split(torch.where(x == 0, float("nan"), x), y), good, classes=3),
        "type": made(Split(x.double(), y), good, classes=3),
        "kind": made(good, good),
        "shapes": made(good, Split(torch.zeros(90, 5), y), classes=3),
        "lengths": made(Split(x[:50], y), good, classes=3),
        "empty": made(good, Split(x[:0], y[:0]), classes=3),
        "one class": made(Split(x, y * 0), Split(x, y * 0), classes=1),
    }[how]


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("labels", "the test set: target 2 is 3, outside 0 to 2"),
        ("negative", "the training set: target 0 is -1, outside 0 to 2"),
        ("hole", "the training set: input 0 is nan"),
        (
            "type",
            "the training set: inputs must be torch.float32 with vocabulary=None, got",
        ),
        (
            "kind",
            "the training set: targets must be torch.float32 with classes=None, got",
        ),
        ("shapes", "the training set's inputs have the shape (4,), the test set's (5,)"),
        ("lengths", "the training set has 50 inputs and 90 targets"),
        ("empty", "the test set is empty"),
        ("one class", "classes must be at least 2, got 1"),
    ],
)
def test_data_that_are_not_what_they_say(how: str, says: str) -> None:
    with pytest.raises(InputError) as error:
        check(parse(composed("data=bare", f"data._target_={HERE}.wrong", f"+data.how={how}")))
    assert says in str(error.value)
    assert str(error.value).startswith(f"data: {HERE}.wrong(how={how}): ")


class Odd(CrossEntropy):
    """Says one thing, and measures another."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        if how == "name":
            self.metrics = {"seconds": "minimize"}  # type: ignore[misc]
        if how == "direction":
            self.metrics = {"margin": "maximize"}  # type: ignore[misc]

    def values(self, outputs: Tensor, targets: Tensor) -> Tensor:
        values = super().values(outputs, targets)
        return values.mean() if self.how == "scalar" else values

    def measures(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        return {} if self.how == "less" else super().measures(outputs, targets)


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        ("loss=bare loss._target_={}.Odd +loss.how=scalar", "its loss must be a value per sample"),
        ("loss=bare loss._target_={}.Odd +loss.how=less", "it says metrics=['accuracy'], but meas"),
        ("loss=bare loss._target_={}.Odd +loss.how=name", "no metric can be named 'seconds'"),
        ("loss=bare loss._target_={}.Odd +loss.how=direction objective.metric=val_margin",
         "objective.direction=minimize: must be maximize for val_margin"),
        ("loss=bare loss._target_={}.Reader", "not a src.losses.loss.Loss"),
        ("loss=mse", "needs numbers as targets, but those of the data are 10 classes; choose"),
        ("loss=cross_entropy loss.class_weights=[1,2]", "class_weights has 2 numbers for 10"),
        ("model=bare model._target_={}.Reader", "Reader needs tokens; the data have no vocabulary"),
        ("data=text model=mlp", "MLP needs numbers, but the data are tokens; choose model=transf"),
        ("model=bare model._target_={}.numbers", "returns a Dataset, not a torch.nn"),
        ("data=bare data._target_={}.Reader", "not a src.data.dataset.Dataset"),
        ("data=bare data._target_=src.data.idx.read", "not a src.data.dataset.Dataset"),
        ("data=bare data._target_=torch.optim.Adam", "not a src.data.dataset.Dataset"),
    ],
)  # fmt: skip
def test_parts_that_do_not_fit(overrides: str, says: str) -> None:
    with pytest.raises(InputError) as error:
        check(parse(composed(*overrides.format(HERE, HERE).split())))
    assert says in str(error.value), str(error.value)


def test_parts_of_one_sample_are_refused_with_batch_norm() -> None:
    """70 samples to train on less 14: batches of 16, the last of 8, in 8 parts of 1."""
    with pytest.raises(InputError) as error:
        check(parse(composed("data=bare", f"data._target_={HERE}.numbers", "loss=mse",
                             "data.batch_size=16", "trainer.accumulate=8", "model=bare",
                             f"model._target_={HERE}.Normed")))  # fmt: skip
    says = str(error.value)
    assert says.startswith("data.batch_size=16 trainer.accumulate=8: leaves a batch of 1 of the 56")


class Normed(nn.Sequential):
    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(nn.BatchNorm1d(in_features), nn.Linear(in_features, out_features))


def test_a_source_is_read_once_for_a_run(tmp_path: Path) -> None:
    config = parse(composed(*REAL))
    assert check(config).train.inputs is check(config).train.inputs
