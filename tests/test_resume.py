"""A run that was killed, interrupted or lengthened is the run that was never stopped."""

import hashlib
import json
import os
import random
import resource
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from omegaconf import OmegaConf

from src.config import CONF, parse
from src.errors import InputError
from tests.helpers import Session, composed, result, rows, timeless
from tests.killing import ended, fork, kill_after, outcome, train, wait_until

METHODS = sorted(path.stem for path in (CONF / "optimizer").glob("*.yaml"))
TORCH = sorted(f"torch/{path.stem}" for path in (CONF / "optimizer" / "torch").glob("*.yaml"))
WAYS = [  # each method is run in one of these
    ("scheduler=cosine", "scheduler.warmup_steps=20"),
    ("trainer.early_stopping.patience=12", "trainer.early_stopping.min_delta=10"),
    ("scheduler=linear", "trainer.evaluate=[train,val,test]"),
    ("scheduler=step", "scheduler.step_size=30", "scheduler.gamma=0.5"),
    ("scheduler.warmup_steps=50", "objective.metric=val_accuracy", "objective.direction=maximize"),
]
SHORT = ("trainer.epochs=2", "trainer.evaluate_every=200", "trainer.checkpoint_every=0")


def ways(number: int) -> tuple[str, ...]:
    return WAYS[number % len(WAYS)]


def whole(session: Session, name: str, *settings: str) -> tuple[Path, float]:
    """A run that nobody stops, and the seconds that it took once it had begun."""
    folder = session.folder / name
    child = fork(train(*settings, f"hydra.run.dir={folder}"), session.folder / "log")
    wait_until(lambda: (folder / "provenance.json").exists(), child)
    began = time.monotonic()
    assert ended(child) == 0, (session.folder / "log").read_text()
    return folder, time.monotonic() - began


def killed(session: Session, name: str, seconds: float, *settings: str) -> Path:
    folder = session.folder / name
    child = fork(train(*settings, f"hydra.run.dir={folder}"), session.folder / "log")
    assert kill_after(child, folder, seconds) in (0, -signal.SIGKILL)
    return folder


def go_on(session: Session, folder: Path, *overrides: str) -> None:
    answer = session.train(f"resume={folder}", *overrides)
    assert (answer.status, answer.err) == (0, ""), answer


# Each keeps something of a kind of its own; the slow suite has the others.
KINDS = ("adam", "ademamix", "muon", "prodigy", "sam", "schedule_free_adamw", "sgd", "soap")
ALL = [
    pytest.param(method, marks=() if method in KINDS else (pytest.mark.slow,)) for method in METHODS
]


@pytest.mark.parametrize("method", ALL)
def test_killed_and_resumed(session: Session, method: str) -> None:
    number = METHODS.index(method)
    settings = (*SHORT, f"optimizer={method}", *ways(number))
    reference, seconds = whole(session, "whole", *settings)
    moment = random.Random(number).uniform(0.1, 0.9) * seconds
    folder = killed(session, "killed", moment, *settings)
    go_on(session, folder)
    assert outcome(folder) == outcome(reference)
    end = outcome(folder)
    assert len(end["rows"]) == 13 if end["status"] == "early_stopped" else 12


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(50))
def test_killed_at_random_moments(session: Session, seed: int) -> None:
    """Twice in the same run, the second time after it was resumed."""
    generator = random.Random(1000 + seed)
    method = (METHODS + TORCH)[seed % len(METHODS + TORCH)]
    settings = (*SHORT, "trainer.epochs=4", f"optimizer={method}", *ways(generator.randrange(5)))
    reference, seconds = whole(session, "whole", *settings)
    folder = killed(session, "killed", generator.uniform(0, seconds), *settings)
    if not (folder / "result.json").exists():
        child = fork(train(f"resume={folder}"), session.folder / "log")
        time.sleep(generator.uniform(0, 2 * seconds))
        os.kill(child, signal.SIGKILL)
        assert ended(child) in (0, -signal.SIGKILL)
    assert session.train(f"resume={folder}").status == 0
    assert outcome(folder) == outcome(reference)


def dying(name: str, number: int) -> Callable[[Any], None]:
    """Patch that kills the process before call `number` of a method of the run's session."""

    def action(owner: Any) -> None:
        original, calls = getattr(owner, name), 0

        def counted(*arguments: Any, **named: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return original(*arguments, **named)

        setattr(owner, name, counted)

    return action


def killed_before(session: Session, patch: Callable[[], None], *settings: str) -> Path:
    folder = session.folder / "killed"

    def action() -> None:
        patch()
        train(*settings, f"hydra.run.dir={folder}")()

    assert ended(fork(action, session.folder / "log")) == -signal.SIGKILL
    return folder


WHERE = [  # class, method, call: between all the things that a run writes
    ("src.results.record.Record", "provenance", 1),
    ("src.results.record.Record", "row", 1),
    ("src.training.run.Session", "save", 1),
    ("src.results.record.Record", "flush", 2),
    ("src.training.checkpoints.Checkpoints", "save", 3),
    ("src.training.checkpoints.Checkpoints", "_tidy", 3),
    ("src.results.record.Record", "row", 5),
    ("src.results.record.Record", "result", 1),
]


CROSSED = [
    pytest.param(*where, way, marks=[] if (index + way) % 2 else pytest.mark.slow)
    for index, where in enumerate(WHERE)
    for way in (0, 1)
]


@pytest.mark.parametrize(("owner", "name", "number", "way"), CROSSED)
def test_killed_between_two_files(
    session: Session, owner: str, name: str, number: int, way: int
) -> None:
    from pydoc import locate

    settings = (*WAYS[way], *(("trainer.early_stopping.patience=4",) if way else ()))
    reference = finished(session, *settings, name="whole")
    settings = (*SHORT, *settings)
    patch = dying(name, number)
    folder = killed_before(session, lambda: patch(locate(owner)), *settings)
    go_on(session, folder)
    assert outcome(folder) == outcome(reference)
    assert json.loads((folder / "provenance.json").read_text())["seed"] == 0


def test_killed_before_it_left_a_config(session: Session) -> None:
    patch = dying("config", 1)
    folder = killed_before(session, lambda: patch(_record()), *SHORT)
    answer = session.train(f"resume={folder}")
    assert answer.status == 1
    assert answer.err == f"error: {folder}: no run is there (it has no config.yaml)\n"


def _record() -> Any:
    from src.results import Record

    return Record


def test_a_torn_row_is_made_again(session: Session) -> None:
    reference = session.folder / "whole"
    settings = (*SHORT, "trainer.checkpoint_every=null")
    assert session.train(*settings, f"hydra.run.dir={reference}").status == 0
    patch = dying("result", 1)
    folder = killed_before(session, lambda: patch(_record()), *settings)
    with open(folder / "metrics.jsonl", "a") as file:
        file.write('{"step": 7, "samp')
    go_on(session, folder)
    assert outcome(folder) == outcome(reference)


@pytest.mark.parametrize("status", ["diverged", "early_stopped"])
def test_a_run_that_ended_and_was_killed_before_it_said_so(session: Session, status: str) -> None:
    settings = {
        "diverged": ("optimizer=sgd", "optimizer.lr=1e30", "trainer.checkpoint_every=10"),
        "early_stopped": ("trainer.early_stopping.patience=2", *WAYS[1][1:]),
    }[status]
    reference = session.folder / "whole"
    assert session.train(*SHORT, *settings, f"hydra.run.dir={reference}").status == 0
    assert result(reference)["status"] == status
    patch = dying("result", 1)
    folder = killed_before(session, lambda: patch(_record()), *SHORT, *settings)
    go_on(session, folder)
    assert outcome(folder) == outcome(reference)


def test_dropout_goes_on_with_its_random_numbers(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torch import nn

    from src.models import MLP

    original = MLP.__init__

    def with_dropout(self: MLP, *arguments: Any, **named: Any) -> None:
        original(self, *arguments, **named)
        self.layers = nn.Sequential(nn.Dropout(0.3), *self.children())
        self.forward = lambda inputs: self.layers(inputs)  # type: ignore[method-assign]

    monkeypatch.setattr(MLP, "__init__", with_dropout)
    reference = session.folder / "whole"
    assert session.train(*SHORT, f"hydra.run.dir={reference}").status == 0
    patch = dying("row", 6)
    folder = killed_before(session, lambda: patch(_record()), *SHORT)
    go_on(session, folder)
    assert outcome(folder) == outcome(reference)


MADE: dict[tuple[str, ...], dict[str, bytes]] = {}


def finished(session: Session, *settings: str, name: str = "run") -> Path:
    """A run that has ended; trained once for all tests that want the same."""
    folder = session.folder / name
    if settings not in MADE:
        answer = session.train(*SHORT, *settings, f"hydra.run.dir={folder}")
        assert answer.status == 0, answer
        MADE[settings] = contents(folder)
    for path, content in MADE[settings].items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def unfinished(session: Session, *settings: str) -> Path:
    """As a run leaves its folder that was killed in its second epoch."""
    folder = finished(session, *settings)
    (folder / "result.json").unlink()
    for suffix in ("", ".sha256"):
        (folder / "checkpoints" / f"step-000000072.pt{suffix}").unlink()
    return folder


def test_a_complete_run_is_left_as_it_is(session: Session) -> None:
    folder = finished(session)
    before = contents(folder)
    answer = session.train(f"resume={folder}")
    assert (answer.status, answer.err) == (0, "")
    assert answer.out == f"{folder} is complete (completed): nothing to do\n"
    assert contents(folder) == before


def test_the_command_of_its_own_goes_on(
    session: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder whose name needs quotes, and an override behind it."""
    from src import resume

    folder = finished(session).rename(session.folder / "a=b c,d")
    session.monkeypatch.setattr("sys.argv", ["resume.py", str(folder), "trainer.epochs=3"])
    resume.main()
    assert capsys.readouterr().out.splitlines()[-1] == f"result: {folder}"
    assert result(folder)["final"]["epoch"] == 3
    session.monkeypatch.setattr("sys.argv", ["resume.py"])
    with pytest.raises(SystemExit) as leaving:
        resume.main()
    assert leaving.value.code == 2
    assert "arguments are required: run" in capsys.readouterr().err


@pytest.mark.parametrize(
    "settings",
    [
        ("scheduler.warmup_steps=30",),
        ("scheduler=step", "scheduler.step_size=30", "optimizer=muon"),
        ("trainer.early_stopping.patience=7", "trainer.early_stopping.min_delta=10"),
        ("optimizer=schedule_free_sgd", "scheduler.warmup_steps=30"),
    ],
    ids=["constant", "step", "early stopping", "schedule-free"],
)
def test_a_lengthened_run_is_a_longer_run(session: Session, settings: tuple[str, ...]) -> None:
    long = finished(session, *settings, "trainer.epochs=3", name="long")
    folder = finished(session, *settings, "trainer.epochs=1", name="short")
    assert result(folder)["status"] == "completed"
    go_on(session, folder, "trainer.epochs=3")
    assert outcome(folder) == outcome(long)
    assert yaml.safe_load((folder / "config.yaml").read_text())["trainer"]["epochs"] == 3


def test_killed_while_it_was_lengthened(session: Session) -> None:
    """The result of the shorter run must not be taken for the longer one's."""
    long = finished(session, "trainer.epochs=3", name="long")
    folder = finished(session, "trainer.epochs=1")

    def action() -> None:
        dying("save", 8)(_session())
        train(f"resume={folder}", "trainer.epochs=3")()

    assert ended(fork(action, session.folder / "log")) == -signal.SIGKILL
    go_on(session, folder)
    assert outcome(folder) == outcome(long)


def _session() -> Any:
    from src.training.run import Session

    return Session


def test_a_method_that_knows_the_runs_length_cannot_be_lengthened(session: Session) -> None:
    folder = finished(session, "optimizer=ademamix", "trainer.epochs=1")
    answer = session.train(f"resume={folder}", "trainer.epochs=2")
    assert (answer.status, answer.out) == (1, "")
    assert answer.err == (
        "error: trainer.epochs=2: the warm-up of AdEMAMix of this run depends on its length "
        "(1 epochs), so a longer one is another run\n"
    )
    long = finished(session, "optimizer=ademamix", "optimizer.total_steps=20", name="long")
    assert session.train(f"resume={long}", "trainer.epochs=3").status == 0


@pytest.mark.parametrize("scheduler", ["cosine", "linear"])
def test_a_schedule_that_knows_its_length_cannot_be_lengthened(
    session: Session, scheduler: str
) -> None:
    folder = finished(session, f"scheduler={scheduler}")
    before = contents(folder)
    answer = session.train(f"resume={folder}", "trainer.epochs=3")
    assert answer.status == 1
    assert f"trainer.epochs=3: the {scheduler.title()} schedule" in answer.err
    assert contents(folder) == before


REFUSED = [  # override, what the line must say
    ("optimizer.lr=1", "optimizer.lr=1: a resumed run keeps its own config"),
    ("optimizer=sgd", "optimizer=sgd: a resumed run keeps"),
    ("seed=1", "seed=1: a resumed run keeps"),
    ("++seed=1", "++seed=1: a resumed run keeps"),
    ("~sampler", "~sampler: a resumed run keeps"),
    ("experiment=tutorial", "experiment=tutorial: a resumed run keeps"),
    ("data.batch_size=1", "data.batch_size=1: a resumed run keeps"),
    ("hydra.run.dir=elsewhere", "hydra.run.dir=elsewhere: a resumed run keeps"),
    ("hydra.job.chdir=true", "hydra.job.chdir=true: a resumed run keeps"),
    ("trainer.epochs=1", "trainer.epochs=1: a resumed run can only grow from its 2"),
    ("trainer.epochs=3.5", "trainer.epochs=3.5: a resumed run can only grow from its 2"),
    ("trainer.epochs=many", "trainer.epochs=many: a resumed run can only grow from its 2"),
    ("trainer.checkpoint_every=-1", "trainer.checkpoint_every=-1"),
    ("-m", "resume: not with -m"),
]


@pytest.mark.parametrize(("override", "says"), REFUSED, ids=[override for override, _ in REFUSED])
def test_other_overrides_are_refused(session: Session, override: str, says: str) -> None:
    folder = unfinished(session)
    before = contents(folder)
    answer = session.train(f"resume={folder}", override)
    assert (answer.status, answer.out) == (1, "")
    (line,) = answer.err.splitlines()
    assert line.startswith("error: ")
    assert says in line
    assert contents(folder) == before
    assert not (session.folder / "elsewhere").exists()


def edit(folder: Path, setting: str) -> None:
    """Change config.yaml as somebody does by hand; `a.b=1` sets, `~a.b` removes."""
    config = OmegaConf.load(folder / "config.yaml")
    key, _, value = setting.partition("=")
    if key.startswith("~"):
        del OmegaConf.select(config, key[1:].rpartition(".")[0])[key.rpartition(".")[2]]
    else:
        OmegaConf.update(config, key, yaml.safe_load(value), force_add=True)
    (folder / "config.yaml").write_text(OmegaConf.to_yaml(config))


def by_an_older_version(folder: Path) -> None:
    """Its checkpoints held no config, and nothing beside the state dicts."""
    for place in (folder / "checkpoints").glob("*.pt"):
        state = torch.load(place, weights_only=True)
        torch.save({key: state[key] for key in state if key not in NEW}, place)
        digest = hashlib.sha256(place.read_bytes()).hexdigest()
        Path(f"{place}.sha256").write_text(f"{digest}  {place.name}\n")


NEW = ("config", "parts", "attributes")
EDITED = [  # setting, what the line must say
    ("optimizer.lr=0.5", "config.yaml says optimizer.lr=0.5, they were made with 0.001"),
    ("optimizer.betas=[0.8,0.9]", "optimizer.betas=[0.8, 0.9], they were made with [0.9, 0.999]"),
    ("optimizer.maximize=true", "says optimizer.maximize=true, they were made without it"),
    ("~optimizer.eps", "config.yaml lacks optimizer.eps, they were made with 1e-08"),
    ("seed=3", "says seed=3, they were made with 0"),
    ("data.batch_size=64", "says data.batch_size=64, they were made with 32"),
    ("data.split_seed=1", "data.split_seed=1, they were made with 0"),
    ("model.activation=tanh", "model.activation=tanh, they were made with relu"),
    ("trainer.evaluate_every=500", "trainer.evaluate_every=500, they were made with 200"),
    ("trainer.threads=2", "trainer.threads=2, they were made with null"),
    ("trainer.early_stopping.patience=1", "patience=1, they were made with null"),
    ("objective.row=last", "objective.row=last, they were made with best"),
    ("scheduler.warmup_steps=5", "scheduler.warmup_steps=5, they were made with 0"),
    ("trainer.epochs=1", "trainer.epochs=1: a resumed run can only grow from its 2"),
]


def refused(session: Session, folder: Path, says: str, *overrides: str) -> None:
    """One line about its checkpoints, and nothing in the folder has changed."""
    before = contents(folder)
    answer = session.train(f"resume={folder}", *overrides)
    assert (answer.status, answer.out) == (1, "")
    (line,) = answer.err.splitlines()
    assert line.startswith(f"error: {folder / 'checkpoints'}: not checkpoints of this run: ")
    assert says in line
    assert contents(folder) == before


@pytest.mark.parametrize(("setting", "says"), EDITED, ids=[setting for setting, _ in EDITED])
def test_an_edited_setting_is_refused(session: Session, setting: str, says: str) -> None:
    folder = unfinished(session)
    edit(folder, setting)
    refused(session, folder, says)


@pytest.mark.parametrize("setting", ["trainer.checkpoint_every=5", "search.a=1.0"])
def test_an_edited_setting_that_changes_nothing(session: Session, setting: str) -> None:
    folder = unfinished(session)
    edit(folder, setting)
    if setting.startswith("search"):  # it is in the run's record
        refused(session, folder, "search.a=1.0, they were made without it")
    else:
        go_on(session, folder)


def test_edited_without_a_checkpoint_it_begins_anew(session: Session) -> None:
    reference = finished(session, "optimizer.lr=0.5", "trainer.checkpoint_every=null", name="whole")
    folder = finished(session, "trainer.checkpoint_every=null")
    (folder / "result.json").unlink()
    edit(folder, "optimizer.lr=0.5")
    go_on(session, folder)
    assert outcome(folder) == outcome(reference)


@pytest.mark.parametrize("old", [False, True])
def test_epochs_edited_in_a_completed_run(session: Session, old: bool) -> None:
    long = finished(session, "trainer.epochs=3", name="long")
    folder = finished(session)
    if old:
        by_an_older_version(folder)
    edit(folder, "trainer.epochs=3")
    go_on(session, folder)
    assert outcome(folder) == outcome(long)


def test_epochs_edited_and_given(session: Session) -> None:
    """An override beside `resume` is judged by what the checkpoint was made with."""
    folder = finished(session, "trainer.epochs=3")
    (folder / "result.json").unlink()
    edit(folder, "trainer.epochs=1")
    refused(session, folder, "can only grow from its 3", "trainer.epochs=2")


def test_epochs_edited_where_the_schedule_knows_its_length(session: Session) -> None:
    folder = finished(session, "scheduler=cosine")
    edit(folder, "trainer.epochs=3")
    refused(session, folder, "trainer.epochs=3: the Cosine schedule of this run depends on its")


@pytest.mark.parametrize("schedule", [(), ("scheduler=linear", "optimizer=nesterov")])
def test_checkpoints_of_an_older_version(session: Session, schedule: tuple[str, ...]) -> None:
    reference = finished(session, *schedule, name="whole")
    folder = unfinished(session, *schedule)
    by_an_older_version(folder)
    go_on(session, folder)
    assert outcome(folder) == outcome(reference)
    folder = unfinished(session, *schedule)
    by_an_older_version(folder)
    edit(folder, "optimizer.lr=0.5")
    refused(session, folder, "config.yaml says optimizer.lr=0.5, they were made with 0.001")


def test_harmless_overrides(session: Session) -> None:
    folder = unfinished(session)
    go_on(session, folder, "trainer.checkpoint_every=null", "logger=none")


@pytest.mark.parametrize("name", ["nowhere", "", "notes"])
def test_no_run_is_there(session: Session, name: str) -> None:
    (session.folder / "notes").write_text("mine")
    answer = session.train(f"resume={session.folder}/{name}")
    assert (answer.status, answer.out) == (1, "")
    assert len(answer.err.splitlines()) == 1
    assert f"{session.folder}" in answer.err


@pytest.mark.parametrize("both", [False, True])
def test_damaged_checkpoints(session: Session, both: bool) -> None:
    reference = finished(session, name="whole")
    folder = finished(session)
    (folder / "result.json").unlink()
    places = sorted((folder / "checkpoints").glob("*.pt"), reverse=True)
    for place in places if both else places[:1]:
        place.write_bytes(place.read_bytes()[:-100])
    before = contents(folder)
    answer = session.train(f"resume={folder}")
    lines = answer.err.splitlines()
    assert lines[0].startswith(f"damaged checkpoint {places[0]}: its SHA-256 is ")
    if both:
        assert answer.status == 1
        assert lines[2:] == [
            f"error: {folder / 'checkpoints'}: every checkpoint is damaged; nothing was changed"
        ]
        assert contents(folder) == before
    else:
        assert (answer.status, len(lines)) == (0, 1)
        assert outcome(folder) == outcome(reference)


def test_checkpoints_of_another_run(session: Session) -> None:
    other = finished(session, "model.hidden_sizes=[7]", name="other")
    folder = unfinished(session)
    shutil.rmtree(folder / "checkpoints")
    shutil.copytree(other / "checkpoints", folder / "checkpoints")
    before = contents(folder)
    answer = session.train(f"resume={folder}")
    assert answer.status == 1
    assert f"{folder / 'checkpoints'}: not checkpoints of this run: " in answer.err
    assert len(answer.err.splitlines()) == 1
    assert contents(folder) == before


def test_rows_that_are_gone(session: Session) -> None:
    folder = unfinished(session)
    (folder / "metrics.jsonl").write_text("")
    before = contents(folder)
    answer = session.train(f"resume={folder}")
    assert answer.status == 1
    assert "metrics.jsonl holds 0 rows of 11" in answer.err
    assert contents(folder) == before


def test_data_that_changed(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    import dataclasses

    from src.data import digits, splits

    folder = unfinished(session)
    before = contents(folder)
    other = dataclasses.replace(digits.load(), sha256="1234")
    monkeypatch.setattr(splits, "build", lambda *settings: other)
    splits._load.cache_clear()
    answer = session.train(f"resume={folder}")
    splits._load.cache_clear()
    assert answer.status == 1
    assert f"error: {folder}: the data have changed: their SHA-256 is 1234, it was " in answer.err
    assert len(answer.err.splitlines()) == 1
    assert contents(folder) == before


def test_another_environment_is_told_and_recorded(session: Session) -> None:
    folder = unfinished(session)
    facts = json.loads((folder / "provenance.json").read_text())
    facts["packages"]["torch"] = "1.0"
    (folder / "provenance.json").write_text(json.dumps(facts))
    answer = session.train(f"resume={folder}")
    assert answer.status == 0
    (line,) = answer.err.splitlines()
    assert line.startswith("warning: not as when the run began")
    assert "packages.torch: 1.0 -> " in line
    recorded = json.loads((folder / "provenance.json").read_text())
    assert recorded["packages"]["torch"] == "1.0"
    (entry,) = recorded["resumed"]
    assert entry["step"] == 68
    assert entry["packages.torch"] != "1.0"


def test_the_threads_are_those_that_the_run_had(session: Session) -> None:
    import torch

    folder = unfinished(session)
    facts = json.loads((folder / "provenance.json").read_text())
    assert facts["threads"] == 1
    torch.set_num_threads(2)
    go_on(session, folder)
    assert torch.get_num_threads() == 1


def test_the_threads_are_those_that_a_run_of_another_rule_had(session: Session) -> None:
    """The threads of an older run were the machine's."""
    import torch

    folder = unfinished(session)
    facts = json.loads((folder / "provenance.json").read_text())
    (folder / "provenance.json").write_text(json.dumps({**facts, "threads": 2}))
    go_on(session, folder)
    assert torch.get_num_threads() == 2
    assert json.loads((folder / "provenance.json").read_text())["threads"] == 2


def test_the_second_of_two_processes_is_refused(session: Session) -> None:
    reference, _ = whole(session, "whole", *SHORT)
    folder = unfinished(session)

    def slowly() -> None:
        original = _record().row

        def row(self: Any, values: Any) -> None:
            original(self, values)
            (session.folder / "going").touch()
            wait_until(lambda: (session.folder / "gate").exists())

        _record().row = row
        train(f"resume={folder}")()

    first = fork(slowly, session.folder / "log")
    wait_until(lambda: (session.folder / "going").exists(), first)
    before = contents(folder)
    link = session.folder / "link"
    link.symlink_to(folder)
    for place in (folder, link):
        answer = session.train(f"resume={place}")
        assert answer.status == 1
        assert answer.err == f"error: {place}: another process is working there\n"
    assert contents(folder) == before
    (session.folder / "gate").touch()
    assert ended(first) == 0, (session.folder / "log").read_text()
    assert outcome(folder) == outcome(reference)


@pytest.mark.parametrize(("signum", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_interrupted_and_resumed(session: Session, signum: int, status: int) -> None:
    settings = (*SHORT, "trainer.epochs=30")
    reference, _ = whole(session, "whole", *settings)
    folder = session.folder / "run"
    child = fork(train(*settings, f"hydra.run.dir={folder}"), session.folder / "log")
    metrics = folder / "metrics.jsonl"
    wait_until(lambda: metrics.is_file() and metrics.read_text().count("\n") > 5, child)
    os.kill(child, signum)
    assert ended(child) == status, (session.folder / "log").read_text()
    end = result(folder)
    assert end["status"] == "interrupted"
    assert end["final"] == rows(folder)[-1]
    assert len(rows(folder)) < 180
    go_on(session, folder)
    assert outcome(folder) == outcome(reference)


def limited(session: Session, owner: str, name: str, number: int, *settings: str) -> Path:
    """A run whose disk is full from call `number` of a method on; `log` holds its errors."""
    from pydoc import locate

    folder, log = session.folder / "run", session.folder / "log"
    reader, writer = os.pipe()  # a file would be limited, too

    def action() -> None:
        os.dup2(writer, 2)
        with open(os.devnull, "w") as nothing:
            os.dup2(nothing.fileno(), 1)
        cls, calls = locate(owner), 0
        original = getattr(cls, name)

        def full(*arguments: Any, **named: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == number:
                resource.setrlimit(resource.RLIMIT_FSIZE, (200, resource.RLIM_INFINITY))
            return original(*arguments, **named)

        setattr(cls, name, full)
        train(*settings, f"hydra.run.dir={folder}")()

    status = ended(fork(action, log))
    os.close(writer)
    with os.fdopen(reader) as errors:
        log.write_text(errors.read())
    assert status == 1, log.read_text()
    return folder


FULL = [  # method, call, file that can't be written
    ("src.results.record.Record", "row", 5, "metrics.jsonl"),
    ("src.training.checkpoints.Checkpoints", "save", 5, "step-000000032.pt"),
    ("src.results.record.Record", "result", 1, "result.json"),
    ("src.results.record.Record", "provenance", 1, "provenance.json"),
    ("src.results.record.Record", "config", 1, "config.yaml"),
]


@pytest.mark.parametrize(("owner", "name", "number", "file"), FULL, ids=[f[3] for f in FULL])
def test_a_full_disk(
    session: Session,
    monkeypatch: pytest.MonkeyPatch,
    owner: str,
    name: str,
    number: int,
    file: str,
) -> None:
    monkeypatch.setattr("src.training.run.patch", lambda project: b"")
    reference = finished(session, name="whole")
    folder = limited(session, owner, name, number, *SHORT)
    (line,) = (session.folder / "log").read_text().splitlines()
    assert line.startswith("error: ")
    assert f"{file}: File too large" in line
    assert not [path for path in folder.rglob(".*") if path.name not in (".lock", ".hydra")]
    if file == "config.yaml":
        assert "resume" not in line
        return
    newest = {"step-000000032.pt": 25, "metrics.jsonl": 25, "result.json": 72}.get(file)
    assert line.endswith(f"goes on from {f'step-{newest:09d}.pt' if newest else 'the start'}")
    go_on(session, folder)
    assert outcome(folder) == outcome(reference)


def test_a_trial_goes_on_with_its_sweep(session: Session) -> None:
    folder = unfinished(session)
    config = yaml.safe_load((folder / "config.yaml").read_text())
    (folder / "config.yaml").write_text(yaml.safe_dump({**config, "trial": 3}))
    answer = session.train(f"resume={folder}")
    assert answer.status == 1
    assert f"{folder} is trial 3 of a sweep" in answer.err
    assert len(answer.err.splitlines()) == 1


def test_a_symlinked_and_a_moved_folder(session: Session) -> None:
    reference = finished(session, name="whole")
    folder = unfinished(session)
    moved = session.folder / "moved"
    folder.rename(moved)
    link = session.folder / "link"
    link.symlink_to(moved)
    go_on(session, link)
    assert outcome(moved) == outcome(reference)
    assert timeless(link) == timeless(reference)


def altered(config: Any, key: str, value: object) -> Any:
    """A config with another value, whether or not it is a good one."""
    name, _, rest = key.partition(".")
    if isinstance(config, dict):
        return {**config, name: altered(config[name], rest, value) if rest else value}
    part = altered(getattr(config, name), rest, value) if rest else value
    return config.model_copy(update={name: part})


HARMLESS = {"trainer.checkpoint_every", "trainer.stack", "data.root", "trial", "resume"}


@pytest.mark.filterwarnings("ignore:Pydantic serializer")
def test_every_setting_but_a_few_makes_another_run() -> None:
    from src.config import flatten
    from src.results import identity

    config = parse(composed("data=mnist", "scheduler=step", "+search.a=1.0", "logger=tensorboard"))
    settings = flatten(config.model_dump())
    assert len(settings) > 40
    assert {*settings} >= {*HARMLESS, "seed", "search.a", "optimizer.betas", "objective.row"}
    identity.check_config(config, config)
    for key in settings:
        other = altered(config, key, "other")
        if key in HARMLESS or key.startswith("logger."):
            identity.check_config(config, other)
            continue
        with pytest.raises(ValueError, match=f"{key}=other"):
            identity.check_config(config, other)
    identity.check_config(config, altered(config, "trainer.epochs", 11))
    with pytest.raises(ValueError, match="epochs=9: a resumed run can only grow from its 10"):
        identity.check_config(config, altered(config, "trainer.epochs", 9))


def test_what_differs_in_two_provenances(capsys: pytest.CaptureFixture[str]) -> None:
    from src.results.identity import check_environment, environment

    every_time = {"command": "a", "working_directory": "b", "resumed": []}
    old = {**every_time, "data_sha256": "1", "python": "3", "packages": {"x": "1", "y": "2"}}
    now = {"data_sha256": "1", "packages": {"x": "1", "y": "3"}, "git": {"dirty": True}}
    assert list(environment(old, now)) == [
        ("git.dirty", "absent", True),
        ("packages.y", "2", "3"),
        ("python", "3", "absent"),
    ]
    check_environment(Path("run"), {}, now)
    check_environment(Path("run"), {**now, "command": "c"}, now)
    assert capsys.readouterr().err == ""
    check_environment(Path("run"), old, now)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("git.dirty: absent -> True; packages.y: 2 -> 3; python: 3 -> absent")
    with pytest.raises(InputError, match="the data have changed: their SHA-256 is 2, it was 1"):
        check_environment(Path("run"), old, {**old, "data_sha256": "2"})
