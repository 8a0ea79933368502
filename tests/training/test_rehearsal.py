"""What a run is tried for before it leaves anything."""

import dataclasses
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from src.config import Config, parse
from src.data.splits import Split, Splits
from src.errors import InputError
from src.losses import CrossEntropy
from src.shapes import Shapes
from src.targets import ALLOWED_TARGETS
from src.training import rehearsal
from src.training.build import load_data
from src.training.rehearsal import samples, try_checkpoint, try_model, try_steps
from src.training.state import Pair
from tests import own_parts
from tests.helpers import composed

SHAPES = Shapes((3,), classes=2)
LOSS = CrossEntropy()
LOSS.bind(SHAPES)
DATA = Split(torch.randn(4, 3, generator=torch.Generator().manual_seed(0)), torch.arange(4) % 2)


class OnlyTrains(nn.Linear):
    def forward(self, input: Tensor) -> Tensor:
        if not self.training:
            raise RuntimeError("no evaluation")
        return super().forward(input)


def test_a_model_that_cannot_be_evaluated() -> None:
    """It would train for hours, and fail at its first evaluation."""
    try_model(nn.Linear(3, 2), LOSS, DATA)
    with pytest.raises(RuntimeError, match="no evaluation"):
        try_model(OnlyTrains(3, 2), LOSS, DATA)


def test_groups_without_a_rate() -> None:
    model = nn.Linear(3, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    try_steps(Pair(model, optimizer), LOSS, DATA)
    for group in optimizer.param_groups:
        del group["lr"]
    with pytest.raises(ValueError, match="no lr"):
        try_steps(Pair(model, optimizer), LOSS, DATA)


class Noisy(torch.optim.SGD):
    """Draws from torch's own generator, which a checkpoint keeps."""

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        super().step()
        for group in self.param_groups:
            for param in group["params"]:
                param.data.add_(torch.randn_like(param), alpha=0.1)


class Forgetful(torch.optim.SGD):
    """Its rate shrinks by a number that no state dict holds, and that is no attribute."""

    shrunk: ClassVar[dict[int, float]] = {}

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        rate = self.shrunk[id(self)] = self.shrunk.get(id(self), 1.0) / 2
        for group in self.param_groups:
            for param in group["params"]:
                param.data.add_(param.grad, alpha=-rate)


def pairs(kind: type[torch.optim.SGD]) -> tuple[Pair, Pair]:
    made = []
    for _ in range(2):
        torch.manual_seed(0)
        model = nn.Linear(3, 2)
        made.append(Pair(model, kind(model.parameters(), lr=0.1)))
    return made[0], made[1]


def test_a_checkpoint_is_tried_with_the_same_random_numbers() -> None:
    pair, twin = pairs(Noisy)
    try_steps(pair, LOSS, DATA)
    try_checkpoint(pair, twin, LOSS, pair.state_dict(), DATA)


def test_a_checkpoint_that_forgets_is_refused() -> None:
    pair, twin = pairs(Forgetful)
    try_steps(pair, LOSS, DATA)
    with pytest.raises(ValueError, match=r"two steps after a checkpoint model\.weight isn't what"):
        try_checkpoint(pair, twin, LOSS, pair.state_dict(), DATA)


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("src.targets.ALLOWED_TARGETS", [*ALLOWED_TARGETS, "tests.own_parts.*"])


def refused(*overrides: str) -> str:
    with pytest.raises(InputError) as error:
        rehearsal.check(parse(composed(*overrides)))
    return str(error.value)


def test_what_was_read_is_handed_on() -> None:
    config = parse(composed())
    found, expected = rehearsal.check(config), load_data(config)
    assert torch.equal(found.train.inputs, expected.train.inputs)
    assert torch.equal(found.val.targets, expected.val.targets)


@pytest.mark.parametrize(
    ("says", "overrides"),
    [
        ("gamma must be", "scheduler=step scheduler.gamma=2"),
        ("has no attribute 'Nothing'", "+logger.more._target_=src.loggers.Nothing"),
        ("lr must be", "optimizer.lr=-1"),
        ("element 0 of tensors does not require grad", "model._target_=tests.own_parts.Frozen"),
        (
            "its parameter groups have no lr",
            "optimizer=sgd optimizer._target_=tests.own_parts.NoRate",
        ),
    ],
)
def test_what_is_refused_before_a_download(
    says: str, overrides: str, own: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def read(config: Any) -> Any:
        raise AssertionError("data were read")

    monkeypatch.setattr(rehearsal, "load_data", read)
    absent = ("data=mnist", f"data.root={tmp_path}")
    assert says in refused(*overrides.split(), *absent, "model.hidden_sizes=[]")


@pytest.mark.parametrize(("batch_size", "fits"), [(32, 36 * 10), (1150, 10)])
def test_a_schedule_knows_the_steps_of_the_run(batch_size: int, fits: int) -> None:
    """Of ten epochs of the digits."""
    length = ("trainer.epochs=10", f"data.batch_size={batch_size}")
    rehearsal.check(parse(composed(*length, f"scheduler.warmup_steps={fits}")))
    says = refused(*length, f"scheduler.warmup_steps={fits + 1}")
    assert f"warmup_steps must be at most the run's {fits} steps, got {fits + 1}" in says


@pytest.fixture
def normed(own: None) -> tuple[str, str]:
    """A model with batch norm, which can't be trained on one sample."""
    return "model=logreg", "model._target_=tests.own_parts.BatchNorm"


def last_batch(config: Config, data: Splits) -> None:
    loss = CrossEntropy()
    loss.bind(data.shapes)
    rehearsal._check_last_batch(config, data, own_parts.BatchNorm(64, 10), loss)


def first(size: int, data: Splits) -> Splits:
    """The data with so many samples to train on."""
    train = Split(data.train.inputs[:size], data.train.targets[:size])
    return dataclasses.replace(data, train=train)


@pytest.mark.parametrize(
    ("size", "batch_size", "choose"),
    [
        (10, 3, "choose data.batch_size=4, say, or data.drop_last=true"),
        (7, 2, "choose data.batch_size=4, say, or data.drop_last=true"),  # with 3 one is left, too
        (7, 3, "choose data.batch_size=4, say, or data.drop_last=true"),
        (7, 6, "choose data.batch_size=7, say, or data.drop_last=true"),  # all at once
        (4, 1, "choose data.batch_size=2, say"),  # each batch has one
        (1, 1, "train on more"),
    ],
)
def test_a_last_batch_of_one(
    size: int, batch_size: int, choose: str, normed: tuple[str, str]
) -> None:
    config = parse(composed(*normed, f"data.batch_size={batch_size}"))
    data = first(size, load_data(config))
    with pytest.raises(InputError) as error:
        last_batch(config, data)
    said, _, cure = str(error.value).partition(" (")
    assert said == (
        f"data.batch_size={batch_size}: leaves a batch of 1 of the {size} training samples, "
        "which tests.own_parts.BatchNorm refuses"
    )
    assert "Expected more than 1 value per channel" in cure
    assert cure.endswith(f"); {choose}")


@pytest.mark.parametrize(("size", "batch_size"), [(10, 4), (9, 3), (11, 3), (6, 2), (3, 3)])
def test_a_last_batch_of_more(size: int, batch_size: int, normed: tuple[str, str]) -> None:
    config = parse(composed(*normed, f"data.batch_size={batch_size}"))
    data = first(size, load_data(config))
    last_batch(config, data)


def test_the_last_batch_is_looked_at(normed: tuple[str, str]) -> None:
    assert "leaves a batch of 1 of the 1150" in refused(*normed, "data.batch_size=383")


@pytest.mark.parametrize(
    "settings",
    [
        ("optimizer=sgd", "optimizer._target_=tests.own_parts.OnlyInTraining"),
        ("optimizer=sam",),
        ("optimizer=schedule_free_adamw",),
        ("optimizer=torch/lbfgs",),
        ("optimizer=sgd", "optimizer.lr=1e30", "trainer.clip_norm=1e-35"),
        ("problem=spirals", "optimizer=muon"),
    ],
)
def test_how_long_a_step_takes(own: None, settings: tuple[str, ...]) -> None:
    """Of whatever is checked before."""
    config = parse(composed(*settings))
    rehearsal.check(config)
    assert 0 < rehearsal.seconds_of_a_step(config) < 10


def test_made_up_data() -> None:
    """Labels are of every class in turn, and none is outside the classes; tokens likewise."""
    made = samples(Shapes((1, 5), classes=3))
    assert made.inputs.shape == (4, 1, 5) and made.inputs.dtype == torch.float32
    assert made.targets.tolist() == [0, 1, 2, 0]
    assert samples(Shapes((2,), classes=10), 1).inputs.shape == (1, 2)
    text = samples(Shapes((3,), (3,), classes=2, vocabulary=5), 2)
    assert text.inputs.tolist() == [[0, 1, 2], [3, 4, 0]]
    assert text.targets.tolist() == [[0, 1, 0], [1, 0, 1]]
    real = samples(Shapes((2,), (4,)))
    assert real.targets.shape == (4, 4) and real.targets.dtype == torch.float32


def test_the_shape_of_an_output() -> None:
    with pytest.raises(ValueError) as error:
        try_model(nn.Linear(3, 5), LOSS, DATA)
    assert str(error.value) == (
        "its output must have the shape (4, 2), got (4, 5) for inputs of the shape (4, 3)"
    )


def test_a_model_without_gradients() -> None:
    frozen = nn.Linear(3, 2).requires_grad_(False)
    with pytest.raises(RuntimeError, match="does not require grad"):
        try_model(frozen, LOSS, DATA)


def test_steps_are_those_of_a_run() -> None:
    """Two batches of two, with all of the rate, and gradients of all four for a step more."""
    model, seen = nn.Linear(3, 2), []
    model.register_forward_hook(lambda module, inputs, output: seen.append(len(output)))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.25)
    rates = []
    optimizer.register_step_post_hook(lambda *rest: rates.append(optimizer.param_groups[0]["lr"]))
    try_steps(Pair(model, optimizer), LOSS, DATA)
    assert (seen, rates) == ([2, 2, 4], [0.25, 0.25])
    loss = nn.functional.cross_entropy(model(DATA.inputs), DATA.targets)
    (expected,) = torch.autograd.grad(loss, [model.weight])
    assert torch.equal(model.weight.grad, expected)  # type: ignore[arg-type]


class Line(torch.optim.SGD):
    """Evaluates the batch itself. Its rate shrinks by what no state dict holds, if it forgets."""

    forgets: ClassVar[bool] = False
    shrunk: ClassVar[dict[int, float]] = {}

    def step(self, closure: Any) -> Any:  # type: ignore[override]
        loss = closure()
        rate = self.shrunk[id(self)] = self.shrunk.get(id(self), 1.0) / 2 if self.forgets else 1.0
        for group in self.param_groups:
            for param in group["params"]:
                param.data.add_(param.grad, alpha=-rate)
        return loss


@pytest.mark.parametrize("forgets", [False, True])
def test_a_checkpoint_of_one_that_makes_its_gradients(
    forgets: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Line, "forgets", forgets)
    pair, twin = pairs(Line)
    try_steps(pair, LOSS, DATA)
    state = pair.state_dict()
    if forgets:
        with pytest.raises(ValueError, match=r"a checkpoint model\.weight isn't what"):
            try_checkpoint(pair, twin, LOSS, state, DATA)
    else:
        before = pair.model.weight.clone()
        try_checkpoint(pair, twin, LOSS, state, DATA)
        assert not torch.equal(pair.model.weight, before)  # type: ignore[arg-type]


def test_a_parameter_without_gradient_has_none_in_the_twin() -> None:
    pair, twin = pairs(torch.optim.SGD)
    try_steps(pair, LOSS, DATA)
    pair.model.bias.grad = None
    try_checkpoint(pair, twin, LOSS, pair.state_dict(), DATA)
    assert twin.model.bias.grad is None
    assert torch.equal(twin.model.weight.grad, pair.model.weight.grad)  # type: ignore[arg-type]
    assert twin.model.weight.grad is not pair.model.weight.grad


def test_a_checkpoint_is_tried_whole_only_where_one_is_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried = []
    monkeypatch.setattr(rehearsal, "try_checkpoint", lambda *parts: tried.append(parts))
    rehearsal.check(parse(composed("trainer.checkpoint_every=null")))
    assert not tried
    rehearsal.check(parse(composed("trainer.checkpoint_every=10")))
    assert len(tried) == 1
