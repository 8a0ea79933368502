"""`-m` without a study: a folder for each multirun and each job, and what is refused."""

import shlex
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from omegaconf import OmegaConf

from src.composing import register
from src.overrides import override
from src.results import Record
from src.train import going_on
from tests.helpers import Answer, Session, result

QUICK = ("trainer.epochs=1", "model=logreg", "trainer.threads=1")


def error(answer: Answer) -> str:
    """The only line of an answer that refuses."""
    assert (answer.status, answer.out) == (1, ""), answer
    (line,) = answer.err.splitlines()
    return line


def everything(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_two_multiruns_do_not_share_a_folder(session: Session) -> None:
    first = session.train("-m", "seed=0,1", *QUICK, "hydra.sweep.dir=D")
    assert first.status == 0, first.err
    before = everything(session.folder)
    again = session.train("-m", "seed=0,1", "optimizer=sgd", *QUICK, "hydra.sweep.dir=D")
    assert error(again) == "error: hydra.sweep.dir=D: it exists and is not empty"
    assert everything(session.folder) == before
    single = session.train(*QUICK, "hydra.run.dir=D/trial-0")
    assert error(single) == "error: hydra.run.dir=D/trial-0: it exists and is not empty"
    assert everything(session.folder) == before


def test_two_that_start_in_the_same_second_have_two_folders(session: Session) -> None:
    """Each finds the other's name taken, whoever comes first."""
    moment = SimpleNamespace(now=lambda: datetime(2026, 1, 1))
    session.monkeypatch.setattr("hydra.core.utils.datetime", moment)
    command = ["-m", "seed=0,1", *QUICK]
    answers = [session.train(*command) for _ in range(2)]
    assert [answer.status for answer in answers] == [0, 0], answers
    folders = sorted((session.folder / "outputs" / "sweeps").iterdir())
    assert [one.name for one in folders] == ["2026-01-01-00-00-00", "2026-01-01-00-00-00-2"]
    for folder in folders:
        for job in (0, 1):
            assert result(folder / f"trial-{job}")["seed"] == job
            assert (folder / f"trial-{job}" / ".hydra").is_dir()


@pytest.mark.parametrize(
    "subdir", ["x", "${hydra.job.name}", "../${hydra.job.num}", "a/../../${hydra.job.num}"]
)
def test_jobs_that_would_share_a_folder_are_refused(session: Session, subdir: str) -> None:
    answer = session.train("-m", "seed=0,1", *QUICK, f"hydra.sweep.subdir='{subdir}'")
    assert f"hydra.sweep.subdir={subdir}: must hold ${{hydra.job.num}}" in error(answer)
    assert list(session.folder.iterdir()) == []


@pytest.mark.parametrize(
    ("place", "reason"),
    [("/dev/null/x", "Not a directory"), ("/proc/x", ""), ("/dev/null", "is no folder")],
)
def test_a_place_that_cannot_be_written(session: Session, place: str, reason: str) -> None:
    line = error(session.train("-m", "seed=0,1", *QUICK, f"hydra.sweep.dir={place}"))
    assert line.startswith(f"error: hydra.sweep.dir={place}: ")
    assert reason in line


def test_several_sweeps_at_once_are_refused_with_what_does_it(session: Session) -> None:
    line = error(session.train("-m", "sweeps=sgd,adam"))
    assert "sweeps=sgd,adam: one study per method" in line
    assert line.endswith("or compare: python -m src.compare 'methods=[sgd,adam]'")


def test_a_sweep_without_m_is_refused(session: Session) -> None:
    line = error(session.train("sweeps=adam", "optimizer.lr=0.1"))
    assert line == "error: sweeps=adam: nothing is searched without -m; add it, or leave sweeps="
    values = ("search.one_minus_beta1=0.2", "search.one_minus_beta2=0.01", "optimizer.lr=0.1")
    ran = session.train("sweeps=adam", *values, *QUICK, "hydra.run.dir=run")
    assert ran.status == 0, ran.err  # as the command that a sweep prints
    config = yaml.safe_load((session.folder / "run" / "config.yaml").read_text())
    assert config["optimizer"]["betas"] == [0.8, 0.99]


def best(session: Session) -> str:
    """An experiment as a sweep of momentum leaves it, with another width than the default."""
    swept = session.train(
        *("-m", "sweeps=momentum", "model.hidden_sizes=[7]", "n_trials=1", "trainer.epochs=1"),
        *("study=s", "trainer.threads=1"),
    )
    assert swept.status == 0, swept.err
    register()  # as the next command does when it starts
    return "experiment=s/best"


def test_what_stands_beside_an_experiment_wins_or_is_refused(session: Session) -> None:
    experiment = best(session)
    for choice in ("optimizer=sgd", "model=logreg", "data=mnist", "scheduler=cosine"):
        group = choice.partition("=")[0]
        before = everything(session.folder)
        line = error(session.train(experiment, choice))
        assert line.startswith(f"error: {choice}: {experiment} says itself what the {group} is")
        assert everything(session.folder) == before
    values = ("optimizer.lr=0.5", "model.hidden_sizes=[3]", "seed=4", "trainer.epochs=2")
    ran = session.train(experiment, *values, "optimizer=momentum", "pruner=none")
    assert ran.status == 0, ran.err
    folder = Path(ran.out.splitlines()[-1].removeprefix("result: "))
    assert folder.name.endswith("-momentum-digits")
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert config["optimizer"] == {
        "_target_": "src.optimizers.Momentum",
        "lr": 0.5,
        "momentum": 0.9,
        "weight_decay": 0.0,
    }
    assert (config["model"]["hidden_sizes"], config["seed"]) == ([3], 4)
    assert result(folder)["parameters"] == 64 * 3 + 3 + 3 * 10 + 10


def test_a_job_of_a_multirun_is_refused_like_a_run(session: Session) -> None:
    answer = session.train("-m", best(session), "optimizer=momentum,sgd", "hydra.sweep.dir=D")
    assert answer.status == 1
    assert "optimizer=sgd: experiment=s/best says itself what the optimizer is" in answer.err
    assert len(answer.err.splitlines()) == 1
    assert result(session.folder / "D" / "trial-0")["status"] == "completed"
    assert not (session.folder / "D" / "trial-1" / "config.yaml").exists()


def test_an_experiment_of_ones_own(session: Session) -> None:
    """One that sets values goes with any choice; one that names a class goes with none."""
    folder = session.folder / "conf" / "experiment"
    folder.mkdir(parents=True)
    head = "# @package _global_\n"
    (folder / "long.yaml").write_text(f"{head}trainer: {{epochs: 2}}\noptimizer: {{lr: 0.5}}\n")
    (folder / "mine.yaml").write_text(f"{head}optimizer: {{_target_: torch.optim.SGD, lr: 0.5}}\n")
    more = ("--config-dir", "conf", "model=logreg", "hydra.run.dir=run")
    assert session.train("experiment=long", "optimizer=sgd", *more).status == 0
    assert result(session.folder / "run")["final"]["epoch"] == 2
    line = error(session.train("experiment=mine", *more[:3]))
    assert line.startswith("error: optimizer=adam: experiment=mine says itself what the optimizer")


@pytest.mark.parametrize("begun", [False, True])
def test_only_a_plain_multirun_names_what_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begun: bool
) -> None:
    """The jobs of another sweeper are its own to know."""
    monkeypatch.setattr("sys.argv", ["train.py"])
    if begun:
        (tmp_path / "config.yaml").touch()
    sweeper = {"_target_": "theirs.Sweeper"}
    config: Any = OmegaConf.create({"job": {"num": 1}, "sweeper": sweeper})
    lines = going_on(tmp_path, config)
    words = [shlex.split(line)[-1] for line in lines]
    assert words == ([f"resume={tmp_path}"] if begun else [])


def test_ctrl_c_names_every_job_that_is_left(session: Session) -> None:
    """Pasted, the printed commands make the rest; also where the path needs quotes."""
    folder, row = session.folder / "a=b [c] 'd'", Record.row

    def interrupted(self: Record, values: dict[str, object]) -> None:
        row(self, values)
        if len(self.rows) == 2:
            raise KeyboardInterrupt

    with session.monkeypatch.context() as patch:
        patch.setattr(Record, "row", interrupted)
        answer = session.train(
            *("-m", "seed=0,1", "model.hidden_sizes=[9],[]", "trainer.epochs=3"),
            override("hydra.sweep.dir", str(folder)),
        )
    assert answer.status == 130
    lines = answer.err.splitlines()
    assert [line.partition(": ")[0] for line in lines] == [
        "interrupted; this goes on",
        *["not begun"] * 3,
    ]
    words = [shlex.split(line.partition(": ")[2])[3:] for line in lines]
    assert words[1:] == [
        ["seed=0", "model.hidden_sizes=[]", "trainer.epochs=3"],
        ["seed=1", "model.hidden_sizes=[9]", "trainer.epochs=3"],
        ["seed=1", "model.hidden_sizes=[]", "trainer.epochs=3"],
    ]
    resumed = session.train(*words[0])
    assert resumed.status == 0, resumed.err
    assert resumed.out.splitlines()[-1] == f"result: {folder}/trial-0"
    assert result(folder / "trial-0")["final"]["epoch"] == 3
    assert not (folder / "trial-1").exists()
