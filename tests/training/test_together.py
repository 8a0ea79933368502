"""K runs at once leave what each leaves alone: rows, weights, checkpoints, ends; to the bit."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from src.config import parse
from src.models import MLP
from src.results.status import Status
from src.targets import ALLOWED_TARGETS
from src.training import stack
from src.training import together as module
from src.training.looks import Known
from src.training.run import run, snapshot
from src.training.together import Together
from tests.helpers import Session, composed, result, timeless

SHORT = ("trainer.stack=8", "trainer.epochs=2", "trainer.evaluate_every=400", "data.batch_size=48")
VARIED = ("seed=", "optimizer.lr=")  # in runs that are composed once
METHODS = ("sgd", "adam", "rmsprop", "muon", "sam", "schedule_free_adamw", "prodigy")
Left = tuple[list[dict[str, Any]], dict[str, Any]]  # by a run: its rows and its result


def task(
    folder: Path, hub: Together[str] | None, *settings: str, **options: Any
) -> Callable[[], str]:
    """A run in a folder; it returns its digest."""
    cfg = composed(*SHORT, *(each for each in settings if not each.startswith(VARIED)))
    cfg.merge_with_dotlist([each for each in settings if each.startswith(VARIED)])

    def train() -> str:
        folder.mkdir(parents=True)
        options.setdefault("keep_last", False)
        outcome = run(parse(cfg), snapshot(cfg), folder, quiet=True, together=hub, **options)
        return str(outcome["weights_sha256"])

    return train


def both(
    root: Path, several: list[tuple[str, ...]], size: int = 8,
    known: dict[tuple[str, ...], Left] | None = None, **options: Any,
) -> Together[str]:  # fmt: skip
    """Runs alone and at once; they must be the same.

    Args:
        known: what runs left that were trained alone before; others are added.
    """
    alone = {} if known is None else known
    for at, settings in enumerate(several):
        if settings not in alone:
            folder = root / "alone" / str(at)
            task(folder, None, *settings, **options)()
            alone[settings] = timeless(folder), result(folder)
    hub: Together[str] = Together(size)
    tasks = [
        task(root / "together" / str(at), hub, *settings, **options)
        for at, settings in enumerate(several)
    ]
    assert len([*hub.run(tasks)]) == len(several)
    for at, settings in enumerate(several):
        together, (rows, here) = root / "together" / str(at), alone[settings]
        assert timeless(together) == rows
        there = result(together)
        for name in ("status", "weights_sha256", "objective", "steps", "at_end"):
            assert here[name] == there[name]
    return hub


@pytest.mark.parametrize(
    "method",
    [name if name == "adam" else pytest.param(name, marks=pytest.mark.slow) for name in METHODS],
)
def test_seeds_and_learning_rates(session: Session, method: str) -> None:
    rates = [()] if method == "prodigy" else [(), ("optimizer.lr=0.003",)]
    several = [(f"optimizer={method}", f"seed={k}", *rates[k % len(rates)]) for k in range(5)]
    hub = both(session.folder, several)
    assert len(hub.stacks) == 1 and not hub.alone


def test_methods_train_in_one_stack(session: Session) -> None:
    hub = both(session.folder, [(f"optimizer={method}",) for method in METHODS])
    assert [len(stack) for stack in hub.stacks.values()] == [len(METHODS)]


def test_later_stacks_try_what_was_made_before(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In this process; it must give the bits of their runs, too."""
    made, real = list[stack.Program](), stack.Program.__init__

    def init(program: stack.Program, *given: Any, **named: Any) -> None:
        made.append(program)
        real(program, *given, **named)

    monkeypatch.setattr(stack.Program, "__init__", init)
    known: dict[Any, dict[Any, stack.Program]] = {}
    monkeypatch.setattr(module, "_programs", lambda *key: known.setdefault(key, {}))
    looked: dict[Any, Known] = {}
    monkeypatch.setattr(module, "_evaluations", lambda *key: looked.setdefault(key, {}))
    both(session.folder / "first", [(f"seed={k}",) for k in range(4)])
    [programs], [looks] = known.values(), looked.values()
    assert programs and looks and made
    for program in (*programs.values(), *(each for _, _, each in looks.values())):
        assert not program.found, "they hold memory"
    made.clear()
    both(session.folder / "second", [(f"seed={k}", "optimizer.lr=0.003") for k in range(4, 8)])
    assert not made


def test_more_runs_than_room(session: Session) -> None:
    """One begins where another ends; those that wait differ in how far they are."""
    several = [(f"seed={k}", f"trainer.epochs={1 + k % 3}") for k in range(9)]
    both(session.folder, several, size=4)


def test_runs_that_end_early(session: Session) -> None:
    """Diverged, stopped early, and pruned; the others go on."""
    patient = "trainer.early_stopping.patience=1", "trainer.early_stopping.min_delta=0.5"
    several = [
        ("optimizer=sgd", "optimizer.lr=1e30"),
        *[("seed=1", *patient), ("seed=2",), ("seed=3",), ("seed=4",), ("seed=5",)],
    ]
    both(session.folder, several)
    states = [result(session.folder / "together" / str(at))["status"] for at in range(6)]
    assert states == [Status.DIVERGED, Status.EARLY_STOPPED, *[Status.COMPLETED] * 4]
    both(session.folder / "pruned", several[2:], stop=lambda row: row["epoch"] == 1)


@pytest.mark.slow
def test_models_of_several_kinds(session: Session) -> None:
    several = [(f"seed={k}", f"model.hidden_sizes=[{8 + k % 2}]") for k in range(8)]
    hub = both(session.folder, several)
    assert sorted(len(stack) for stack in hub.stacks.values()) == [4, 4]


def test_a_checkpoint_holds_what_it_would_hold(session: Session) -> None:
    """The run's own generator and weights, and nothing of the others."""
    several = [(f"seed={k}", "trainer.checkpoint_every=0") for k in range(4)]
    both(session.folder, several, keep_last=True)
    for at in range(4):
        files = [
            max((session.folder / way / str(at) / "checkpoints").glob("*.pt"))
            for way in ("alone", "together")
        ]
        alone, together = (torch.load(file, "cpu", weights_only=True) for file in files)
        assert torch.equal(alone["generators"]["cpu"], together["generators"]["cpu"])
        for name, tensor in alone["model"].items():
            assert torch.equal(tensor, together["model"][name])
        assert files[1].stat().st_size < 1.1 * files[0].stat().st_size


class Dropping(MLP):
    """Drops out in training."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return nn.functional.dropout(super().forward(inputs), 0.2, self.training)


def test_a_model_that_draws_trains_alone(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each with the random numbers that it would have alone."""
    monkeypatch.setattr("src.models.MLP", Dropping)
    monkeypatch.setattr(Dropping, "__module__", "src.models.mlp")
    hub = both(session.folder, [(f"seed={k}",) for k in range(4)])
    assert {*hub.alone.values()} == {"the model draws random numbers"}


def test_a_schedule_that_draws(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked between steps, and finds torch's generator as its own run left it."""
    monkeypatch.setattr("src.targets.ALLOWED_TARGETS", [*ALLOWED_TARGETS, "tests.own_parts.*"])
    own = "scheduler._target_=tests.own_parts.Jittery"
    hub = both(session.folder, [(own, f"seed={k}") for k in range(4)])
    assert hub.stacks and not hub.alone


def test_more_come_to_few_that_draw(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three were too few to be stacked; that more can't be ends none of them."""
    monkeypatch.setattr("src.models.MLP", Dropping)
    monkeypatch.setattr(Dropping, "__module__", "src.models.mlp")
    several = [(f"seed={k}", "trainer.epochs=3") for k in range(3)]
    several += [("model=logreg", f"seed={k}", "trainer.epochs=1") for k in range(5)]
    several += [(f"seed={k}",) for k in range(3, 6)]
    hub = both(session.folder, several)
    assert "the model draws random numbers" in hub.alone.values()


def test_an_evaluation_that_fails_at_once_is_made_alone(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    def means(self: object, looks: object) -> None:
        raise ValueError("a metric that bears one model at a time")

    monkeypatch.setattr(module.Looks, "means", means)
    hub = both(session.folder, [(f"seed={k}",) for k in range(4)])
    assert hub.unseen and hub.why_alone(next(iter(hub.stacks))) is None


def test_an_error_ends_all_of_them(session: Session) -> None:
    hub: Together[str] = Together(4)

    def fails() -> str:
        raise ValueError("it broke")

    tasks = [task(session.folder / str(at), hub, f"seed={at}") for at in range(3)]
    with pytest.raises(ValueError, match="it broke"):
        [*hub.run([*tasks, fails])]
    states = [result(session.folder / str(at))["status"] for at in range(3)]
    assert states == [Status.INTERRUPTED] * 3


def test_ctrl_c_in_one_interrupts_all(session: Session) -> None:
    hub: Together[str] = Together(4)

    def pressed(row: dict[str, Any]) -> bool:
        raise KeyboardInterrupt

    tasks = [task(session.folder / str(at), hub, f"seed={at}") for at in range(3)]
    last = task(session.folder / "3", hub, "seed=3", stop=pressed)
    with pytest.raises(KeyboardInterrupt):
        [*hub.run([*tasks, last])]
    states = [
        json.loads((session.folder / str(at) / "result.json").read_text())["status"]
        for at in range(4)
    ]
    assert states == [Status.INTERRUPTED] * 4


def test_few_are_left_to_do_it_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their gradients come of their own backward pass."""
    made = []
    monkeypatch.setattr(module, "Stack", lambda models: made.append(models))
    hub: Together[float] = Together(8)
    model = MLP(4, 2)

    def steps() -> float:
        inputs, targets = torch.rand(3, 4), torch.zeros(3, dtype=torch.int64)

        def loss(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return nn.functional.cross_entropy(model(x), y)

        return float(hub.backward("kind", model, loss, (inputs, targets)).detach())

    found = [*hub.run([steps] * (module.LEAST - 1))]
    assert len(found) == module.LEAST - 1 and not made
    assert all(param.grad is not None for param in model.parameters())


def test_the_seconds_are_shared(session: Session) -> None:
    """A run's seconds hold those of the others, and its record says so."""
    hub = both(session.folder, [(f"seed={k}",) for k in range(4)])
    assert hub.size == 8
    kept = [
        json.loads((session.folder / way / "0" / "provenance.json").read_text())
        for way in ("alone", "together")
    ]
    assert "together" not in kept[0] and kept[1]["together"] == 8
