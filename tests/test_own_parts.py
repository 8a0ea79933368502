"""Optimizers and models of one's own: what of them a checkpoint keeps, what is refused when."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from src.targets import ALLOWED_TARGETS
from tests import own_parts
from tests.helpers import Session, result
from tests.killing import ended, fork, outcome, train
from tests.test_resume import dying

SHORT = ("trainer.epochs=2", "trainer.evaluate_every=300", "trainer.checkpoint_every=0")


@pytest.fixture(autouse=True)
def allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("src.targets.ALLOWED_TARGETS", [*ALLOWED_TARGETS, "tests.own_parts.*"])


def own(group: str, part: type) -> tuple[str, ...]:
    choice = {"optimizer": "sgd", "model": "logreg"}[group]
    return f"{group}={choice}", f"{group}._target_=tests.own_parts.{part.__name__}"


def goes_on(session: Session, *settings: str) -> None:
    """Killed in its second epoch and resumed, it ends as if it had never been stopped."""
    from src.results import Record

    reference, folder = session.folder / "whole", session.folder / "killed"
    answer = session.train(*SHORT, *settings, f"hydra.run.dir={reference}")
    assert (answer.status, answer.err) == (0, "")

    def action() -> None:
        dying("row", 6)(Record)
        train(*SHORT, *settings, f"hydra.run.dir={folder}")()

    assert ended(fork(action, session.folder / "log")) == -signal.SIGKILL
    answer = session.train(f"resume={folder}")
    assert (answer.status, answer.err) == (0, "")
    assert outcome(folder) == outcome(reference)


def refused(session: Session, says: str, *settings: str) -> None:
    answer = session.train("trainer.epochs=1", *settings)
    assert (answer.status, answer.out) == (1, "")
    (line,) = answer.err.splitlines()
    assert line.startswith("error: ")
    assert says in line
    assert list(session.folder.iterdir()) == []


@pytest.mark.parametrize("optimizer", own_parts.KEPT)
def test_an_optimizer_goes_on(session: Session, optimizer: type) -> None:
    goes_on(session, *own("optimizer", optimizer), "scheduler=step", "scheduler.step_size=20")


def test_one_that_evaluates_a_batch_itself_goes_on(session: Session) -> None:
    goes_on(session, "optimizer=torch/lbfgs", "optimizer.lr=0.1", "model=logreg")


@pytest.mark.parametrize("model", [own_parts.Forgetful, own_parts.Extra, own_parts.LazyConv])
def test_a_model_goes_on(session: Session, model: type) -> None:
    goes_on(session, *own("model", model), "optimizer=momentum")


@pytest.mark.parametrize(("optimizer", "says"), own_parts.REFUSED)
def test_state_that_is_refused(session: Session, optimizer: type, says: str) -> None:
    refused(session, says, *own("optimizer", optimizer))


def test_extra_state_that_is_refused(session: Session) -> None:
    says = "model._extra_state: a collections.deque can't be kept in a checkpoint"
    refused(session, says, *own("model", own_parts.BadExtra))


@pytest.mark.parametrize("optimizer", [own_parts.Deque, own_parts.Closed])
def test_nothing_is_refused_without_checkpoints(session: Session, optimizer: type) -> None:
    answer = session.train(
        "trainer.epochs=1", "trainer.checkpoint_every=null", *own("optimizer", optimizer)
    )
    assert (answer.status, answer.err) == (0, "")


def test_what_does_not_change_is_not_refused(session: Session) -> None:
    answer = session.train("trainer.epochs=1", *own("optimizer", own_parts.Rest))
    assert (answer.status, answer.err) == (0, "")


def test_state_that_shows_late_is_refused_at_the_checkpoint(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    def scale(self: Any, param: Any, grad: Any, state: dict[str, Any]) -> float:
        self.t += 1
        if self.t > 60:
            state["late"] = own_parts.deque()
        return 1

    monkeypatch.setattr(own_parts.Counter, "scale", scale)
    folder = session.folder / "run"
    answer = session.train(*SHORT, *own("optimizer", own_parts.Counter), f"hydra.run.dir={folder}")
    assert answer.status == 1
    (line,) = answer.err.splitlines()
    assert line.startswith("error: optimizer.state[0].late: a collections.deque can't be kept")
    assert not list((folder / "checkpoints").glob("*000000036*"))


def test_one_that_an_older_version_wrote(session: Session) -> None:
    """Whole, but of a class that isn't loaded: it is not called damaged."""
    import hashlib

    folder = session.folder / "run"
    assert session.train(*SHORT, f"hydra.run.dir={folder}").status == 0
    (folder / "result.json").unlink()
    places = sorted((folder / "checkpoints").glob("*.pt"), reverse=True)
    for place in places:
        state = torch.load(place, weights_only=True)
        state["optimizer"]["state"][0]["recent"] = own_parts.deque([1.0])
        torch.save(state, place)
        digest = hashlib.sha256(place.read_bytes()).hexdigest()
        Path(f"{place}.sha256").write_text(f"{digest}  {place.name}\n")
    answer = session.train(f"resume={folder}")
    assert answer.status == 1
    says = "it holds collections.deque, which isn't loaded from a checkpoint"
    assert answer.err.splitlines() == [
        *(f"unreadable checkpoint {place}: {says}" for place in places),
        f"error: {folder / 'checkpoints'}: every checkpoint is unreadable; nothing was changed",
    ]


MODELS = [
    (own_parts.Narrow, "its output must have the shape (4, 10), got (4, 5) for inputs of"),
    (own_parts.Tuple, "model: tests.own_parts.Tuple(hidden_sizes=[]): 'tuple' object has no"),
    (own_parts.Frozen, "model: tests.own_parts.Frozen(hidden_sizes=[]): element 0 of tensors"),
    (own_parts.Large, "model: tests.own_parts.Large(hidden_sizes=[]): addmm: mat1 and mat2"),
    (own_parts.Unused, "spare.weight has no shape even after a forward pass"),
]


@pytest.mark.parametrize(("model", "says"), MODELS)
def test_a_model_that_fails_in_use(session: Session, model: type, says: str) -> None:
    refused(session, says, *own("model", model))


def test_a_model_is_tried_with_the_shape_of_the_data(session: Session) -> None:
    """No data is read: the line is about the data that aren't there, not about the model."""
    settings = "data=mnist", "data.root=/dev/null"
    refused(session, "could not be downloaded", *settings, *own("model", own_parts.Large))
    refused(session, "Narrow(", *settings, *own("model", own_parts.Narrow))


def test_the_model_for_large_pictures_trains_on_them(session: Session, mnist_root: str) -> None:
    settings = "data=mnist", f"data.root={mnist_root}", "data.validation_fraction=0.99"
    answer = session.train("trainer.epochs=1", *settings, *own("model", own_parts.Large))
    assert (answer.status, answer.err) == (0, "")


def test_lazy_layers_repeat_to_the_bit(session: Session) -> None:
    ends = []
    for name, seed in [("one", 1), ("same", 1), ("other", 2)]:
        folder = session.folder / name
        settings = (*own("model", own_parts.LazyConv), f"seed={seed}", f"hydra.run.dir={folder}")
        answer = session.train("trainer.epochs=1", *settings)
        assert (answer.status, answer.err) == (0, "")
        ends.append(result(folder))
    assert ends[0]["weights_sha256"] == ends[1]["weights_sha256"] != ends[2]["weights_sha256"]
    assert ends[0]["parameters"] == 3 * 9 + 3 + 2 * 3 + 3 * 36 * 10 + 10


@pytest.mark.parametrize(("size", "other"), [(383, 384), (1, 2), (1149, 1150)])
def test_a_last_batch_of_one(session: Session, size: int, other: int) -> None:
    norm, pictures = own("model", own_parts.BatchNorm), own("model", own_parts.PictureNorm)
    says = f"data.batch_size={size}: leaves a batch of 1 of the 1150 training samples, which "
    refused(session, says, f"data.batch_size={size}", *norm)
    refused(session, f"choose data.batch_size={other}, say", f"data.batch_size={size}", *norm)
    for settings in ((f"data.batch_size={size}", *pictures), (f"data.batch_size={other}", *norm)):
        folder = session.folder / f"run{len(os.listdir(session.folder))}"
        answer = session.train("trainer.epochs=1", *settings, f"hydra.run.dir={folder}")
        assert (answer.status, answer.err) == (0, "")


def test_the_trial_leaves_the_weights_as_they_were(session: Session) -> None:
    """The digest of the run's first weights, made by hand."""
    from src.config import parse
    from src.models import MLP
    from src.training.build import assemble
    from src.training.result import weights_sha256
    from tests.helpers import composed

    torch.manual_seed(4)
    expected = weights_sha256(MLP(64, 10, [100]))
    after = torch.rand(3)
    assert weights_sha256(assemble(parse(composed("seed=4"))).model) == expected
    assert torch.equal(torch.rand(3), after)
