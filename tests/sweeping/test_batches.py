"""sampler.batch: trials that are proposed at once and trained together."""

import json
import os
from pathlib import Path
from threading import Event
from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from src.results.status import Status
from src.sweeping import sweeper
from src.sweeping.study import DIED, INTERRUPTED, PROPOSAL, Batches, Lease, Outcome, SharedStudy
from tests.helpers import result, timeless
from tests.sweeping.conftest import Ended, Sweep, forget_connections, open_study, states

SMALL = ("sweeps=momentum", "n_trials=9", "pruner=none", "model=mlp", "model.hidden_sizes=[8]",
         "data.batch_size=128", "trainer.stack=4")  # fmt: skip


def trained(ended: Ended) -> list[tuple[Any, ...]]:
    """Each trial: its point, how it ended, and all that its folder holds but for clocks."""
    assert ended.status == 0, ended.err
    return [(trial.params, trial.state, trial.value, weights(trial)) for trial in ended.trials]


def weights(trial: FrozenTrial) -> Any:
    folder = Path(trial.user_attrs["folder"])
    return result(folder)["weights_sha256"], timeless(folder)


@pytest.mark.parametrize("sampler", ["random", pytest.param("qmc", marks=pytest.mark.slow), "grid"])
def test_what_does_not_learn_proposes_the_same(sweep: Sweep, sampler: str) -> None:
    """And each trial has the bits that it has alone."""
    alone = sweep(*SMALL, f"sampler={sampler}", "trainer.stack=1", study="alone")
    batch = sweep(*SMALL, f"sampler={sampler}", "sampler.batch=4", study="batch")
    assert trained(batch) == trained(alone)
    assert [trial.user_attrs.get("together") for trial in alone.trials] == [None] * 9
    assert [trial.user_attrs.get("together") for trial in batch.trials] == [4] * 8 + [None]


@pytest.mark.slow
def test_a_learning_sampler_knows_earlier_batches(sweep: Sweep) -> None:
    """The same ten random points; then the points are others, and the same again."""
    more = (*SMALL, "n_trials=16", "trainer.epochs=1")
    alone, batch, again = (
        [trial.params for trial in sweep(*more, f"sampler.batch={size}", study=name).trials]
        for name, size in (("alone", 1), ("batch", 4), ("again", 4))
    )
    assert batch == again
    assert batch[:10] == alone[:10] and batch[12:] != alone[12:]


def test_the_batch_is_signed(sweep: Sweep) -> None:
    assert sweep("sweeps=sgd", "n_trials=2").status == 0
    other = sweep("sweeps=sgd", "n_trials=3", "sampler.batch=2")
    assert other.status == 1 and "sampler.batch was absent, is 2" in other.err
    signature = optuna.load_study(study_name="s", storage=other.url).user_attrs["signature"]
    assert not [key for key in signature if key.startswith(("sampler", "trainer.stack"))]


@pytest.mark.parametrize("wrong", ["0", "2.0", "auto", "true"])
def test_a_wrong_batch_is_refused(sweep: Sweep, wrong: str) -> None:
    ended = sweep("sweeps=sgd", "n_trials=3", f"sampler.batch={wrong}")
    said = wrong.capitalize() if wrong == "true" else wrong
    line = f"sampler.batch={said}: must be a whole number from 1 on"
    assert (ended.status, ended.err.count("\n")) == (1, 1) and line in ended.err


def test_each_ends_its_own_way(sweep: Sweep) -> None:
    """One is refused by its class, one diverges, one is pruned; the others end as ever."""
    ended = sweep(
        *SMALL, "n_trials=12", "sampler=random", "sampler.batch=12", "trainer.stack=12",
        "pruner=asha", "trainer.epochs=4", "optimizer.lr=1e30,0.3,0.1,0.03,0.01,0.003",
        "model.hidden_sizes=[8],[0],[8,8]",
    )  # fmt: skip
    assert ended.status == 0, ended.err
    found = {trial.user_attrs["status"] for trial in ended.trials}
    assert found >= {Status.FAILED, Status.DIVERGED, Status.PRUNED, Status.COMPLETED}
    assert sum(states(ended.trials).values()) == 12
    for trial in ended.trials:
        if trial.user_attrs["status"] != Status.FAILED:
            rows = (Path(trial.user_attrs["folder"]) / "metrics.jsonl").read_text().splitlines()
            assert len(trial.intermediate_values) == len(rows)


def test_ctrl_c_puts_all_back(sweep: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their records are complete; the same command trains them with the same points."""
    whole = sweep(*SMALL, "sampler=random", "sampler.batch=4", study="whole")
    seen = []

    def pressed(self: Any, row: Any) -> bool:
        seen.append(row)
        if len(seen) == 6:
            raise KeyboardInterrupt
        return False

    with monkeypatch.context() as patched:
        patched.setattr(sweeper.TrialReport, "should_prune", pressed)
        first = sweep(*SMALL, "trainer.evaluate_every=300", "sampler=random", "sampler.batch=4")
    assert first.status == 130
    assert states(first.trials) == {"FAIL": 4, "WAITING": 4}
    for trial in first.trials[:4]:
        kept = json.loads((Path(trial.user_attrs["folder"]) / "result.json").read_text())
        assert kept["status"] == Status.INTERRUPTED
    ended = sweep(*SMALL, "trainer.evaluate_every=300", "sampler=random", "sampler.batch=4")
    assert ended.status == 0
    complete = [trial.params for trial in ended.trials if trial.state is TrialState.COMPLETE]
    assert complete == [trial.params for trial in whole.trials]


def finish(study: SharedStudy, trials: list[optuna.Trial]) -> None:
    for trial in trials:
        value = trial.params["x"]
        study.finish(trial, Outcome(TrialState.COMPLETE, value, {"status": "completed"}))


def numbers(trials: list[optuna.Trial]) -> list[int]:
    return [trial.user_attrs.get(PROPOSAL, 0) for trial in trials]


def test_the_rest_of_a_batch_comes_before_the_next(url: str) -> None:
    """A process dies with two of four trials; they are run alone, then the next four at once."""
    study = open_study(url)
    batch = study.next_trials(Batches(4))
    assert numbers(batch) == [0, 1, 2, 3]
    child = os.fork()
    if not child:
        forget_connections()
        died = open_study(url, name="other")
        finish(died, died.next_trials(Batches(4))[:2])
        os._exit(0)
    os.waitpid(child, 0)
    finish(study, batch)
    assert numbers(study.next_trials(Batches(4))) == [4, 5, 6, 7]
    again = open_study(url, name="other")
    for number in (2, 3):
        alone = again.next_trials(Batches(4))
        assert numbers(alone) == [number]
        finish(again, alone)
    assert numbers(again.next_trials(Batches(4))) == [4, 5, 6, 7]


def test_a_trial_that_has_died_joins_no_batch(url: str) -> None:
    """... of one that was put back."""
    study = open_study(url)
    assert len(study.next_trials(Batches(2))) == 2
    for trial, reason in zip(study.trials(), (INTERRUPTED, DIED), strict=True):
        study._give_up(trial, reason)
    batch = study.next_trials(Batches(4))
    assert [trial.user_attrs.get("deaths", 0) for trial in batch] == [0]
    finish(study, batch)
    (alone,) = study.next_trials(Batches(4))
    assert alone.user_attrs["deaths"] == 1


def test_two_workers_take_a_batch_each(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch is claimed at once, before any of its trials has parameters."""
    study, seen = open_study(url), list[str]()
    suggest = study._suggest

    def meanwhile(trial: optuna.Trial) -> bool:
        if not seen:
            reader, writer = os.pipe()
            child = os.fork()
            if not child:
                forget_connections()
                others = open_study(url).next_trials(Batches(4))
                os.write(writer, json.dumps(numbers(others)).encode())
                os._exit(0)
            seen.append(os.read(reader, 99).decode())
            os.waitpid(child, 0)
        return suggest(trial)

    monkeypatch.setattr(study, "_suggest", meanwhile)
    assert numbers(study.next_trials(Batches(4))) == [0, 1, 2, 3]
    assert seen == ["[4, 5, 6, 7]"]


def test_all_of_a_batch_hold_their_leases(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those too that wait for their turn; one failed renewal keeps no other from its own."""
    study, seen, both = open_study(url), set(), Event()
    trials = study.next_trials(Batches(2))

    def renew(trial_id: int) -> None:
        seen.add(trial_id)
        if len(seen) == 2:
            both.set()
        raise OSError("the database is away")

    monkeypatch.setattr("src.sweeping.study.renewal_seconds", lambda storage: 0.01)
    monkeypatch.setattr(study.storage, "record_heartbeat", renew)
    with Lease(study, *trials):
        assert both.wait(timeout=20)
    assert seen == {trial._trial_id for trial in trials}


def test_a_batch_ends_with_the_study(url: str) -> None:
    study = open_study(url, n_trials=6)
    for size in (4, 2, 0):
        finish(study, batch := study.next_trials(Batches(4)))
        assert len(batch) == size
    assert study.counted() == 6


def test_batches() -> None:
    """By hand: ten that know of nothing, in shares of four; then one by one, or in fours."""
    mixed = Batches(1, free=10, at_once=4)
    found = [mixed.of(number) for number in (0, 3, 4, 9, 10, 11)]
    assert found == [range(4), range(4), range(4, 8), range(8, 10), range(10, 11), range(11, 12)]
    assert [Batches(4).of(number) for number in (3, 4)] == [range(4), range(4, 8)]
    assert Batches(1).of(5) == range(5, 6)


FIRST = ("sweeps=momentum", "n_trials=12", "pruner=none", "model=mlp", "model.hidden_sizes=[8]",
         "trainer.epochs=2", "trainer.evaluate_every=500")  # fmt: skip
ALONE: dict[tuple[str, ...], list[tuple[Any, ...]]] = {}  # trained once, however others are stacked


@pytest.mark.parametrize(
    ("more", "together"),
    [
        ((), [10] * 10 + [None] * 2),  # TPE draws ten at random
        (("trainer.stack=6",), [5] * 10 + [None] * 2),
        (("+sampler.n_startup_trials=4",), [4] * 4 + [None] * 8),
        (("sampler=random",), [12] * 12),
        (("sampler=random", "trainer.stack=3"), [None] * 12),  # too few to gain
        (("pruner=median",), [None] * 12),  # which compares with what is there at that moment
    ],
    ids=["tpe", "stack=6", "4 first", "random", "stack=3", "pruner"],
)
def test_first_trials_are_trained_together(
    sweep: Sweep, more: tuple[str, ...], together: list[int | None]
) -> None:
    """Those whose proposals know of no other; the study is the one of single trials."""
    stacked = () if any("stack" in each for each in more) else ("trainer.stack=16",)
    ended = sweep(*FIRST, *stacked, *more, study="together")
    assert [trial.user_attrs.get("together") for trial in ended.trials] == together
    unstacked = tuple(each for each in more if "stack" not in each)
    if unstacked not in ALONE:
        alone = sweep(*FIRST, *unstacked, "trainer.stack=1", study="alone")
        ALONE[unstacked] = trained(alone)
    assert trained(ended) == ALONE[unstacked]
