"""`-m` without a study: a folder for each multirun and each job, and what is refused."""

import csv
import errno
import os
import re
import shlex
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from omegaconf import OmegaConf

from src.composing import register
from src.hooks import _planned
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


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "multirun.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def last_block(answer: Answer) -> list[str]:
    """The lines behind the last empty one."""
    return answer.out.rpartition("\n\n")[2].splitlines()


@pytest.mark.parametrize(("objective", "sign"), [((), 1), (("objective.metric=val_accuracy",), -1)])
def test_a_multirun_names_its_jobs_and_ends_with_their_table(
    session: Session, objective: tuple[str, ...], sign: int
) -> None:
    """Best first, by the metric's own direction."""
    if objective:
        objective += ("objective.direction=maximize",)
    swept = session.train(
        *("-m", "optimizer.lr=1e-3,0.3,1e-5", "seed=0,1", *QUICK, *objective),
        *("trainer.evaluate_at_end=[test]", "hydra.sweep.dir=D"),
    )
    assert swept.status == 0, swept.err
    shared = " ".join([*QUICK, *objective, "trainer.evaluate_at_end=[test]"])
    named = [line for line in swept.out.splitlines() if " of 6): " in line]
    assert named == [
        f"trial-{n} ({n + 1} of 6): optimizer.lr={lr} seed={n % 2} {shared}"
        for n, lr in enumerate(["0.001", "0.001", "0.3", "0.3", "1e-05", "1e-05"])
    ]
    folders = [session.folder / "D" / f"trial-{n}" for n in range(6)]
    ends = [result(folder) for folder in folders]
    values = {f.name: end["objective"]["value"] for f, end in zip(folders, ends, strict=True)}
    best = sorted(values, key=lambda name: sign * values[name])
    rows = table(session.folder / "D")
    assert [row["job"] for row in rows] == best
    assert [float(row["value"]) for row in rows] == [values[name] for name in best]
    for row in rows:
        end = ends[int(row["job"][-1])]
        assert (row["seed"], row["steps"]) == (str(end["seed"]), str(end["steps"]))
        assert float(row["at_end.test_loss"]) == end["at_end"]["test_loss"]
        assert (row["metric"], row["direction"]) == (
            end["objective"]["metric"],
            end["objective"]["direction"],
        )
    block = last_block(swept)
    assert block[0] == f"all jobs: {shared}"
    direction = ends[0]["objective"]["direction"]
    heading = f"{ends[0]['objective']['metric']} ({direction})"
    assert block[1].split()[:3] == ["job", "optimizer.lr", "seed"] and heading in block[1]
    assert [line.split()[0] for line in block[2:-1]] == best
    assert [line.split()[4] for line in block[2:-1]] == [f"{values[name]:.5g}" for name in best]
    assert block[-1] == "table: D/multirun.csv"


def test_failed_jobs_and_those_that_were_not_begun_come_last(session: Session) -> None:
    answer = session.train(
        *("-m", "optimizer=momentum", "optimizer.lr=1e-5,1e30,0.1,-1,0.2", "model=mlp"),
        *("trainer.epochs=1", "trainer.threads=1", "hydra.sweep.dir=D"),
    )
    assert answer.status == 1
    assert "lr must be a number >= 0, got -1" in answer.err
    rows = [(row["job"], row["optimizer.lr"], row["status"]) for row in table(session.folder / "D")]
    assert rows == [
        ("trial-2", "0.1", "completed"),
        ("trial-0", "1e-05", "completed"),
        ("trial-1", "1e+30", "diverged"),
        ("trial-3", "-1", "failed"),
        ("", "0.2", "not begun"),
    ]
    words = [line.split() for line in last_block(answer)[2:7]]
    assert [line[:3] for line in words[2:4]] == [
        ["trial-1", "1e+30", "diverged"], ["trial-3", "-1", "failed"]
    ]  # fmt: skip
    assert words[4] == ["0.2", "not", "begun"]


def test_jobs_of_several_metrics_are_ranked_within_each(session: Session) -> None:
    """A loss and an accuracy can't be compared."""
    swept = session.train(
        *("-m", "objective={metric:val_loss,direction:minimize,row:last},"
          "{metric:val_accuracy,direction:maximize,row:last}"),
        *("optimizer.lr=1e-5,1e-1", *QUICK, "hydra.sweep.dir=D"),
    )  # fmt: skip
    assert swept.status == 0, swept.err
    rows = [(row["metric"], row["optimizer.lr"]) for row in table(session.folder / "D")]
    assert rows == [("val_accuracy", "0.1"), ("val_accuracy", "1e-05"), ("val_loss", "0.1"),
                    ("val_loss", "1e-05")]  # fmt: skip
    block = last_block(swept)
    assert "val_loss" not in block[1]
    assert "  val_accuracy (maximize) 0.9" in block[2] and "  val_loss (minimize) " in block[5]


def test_on_a_terminal_the_table_is_as_wide_as_it(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"FORCE_COLOR": "1", "TERM": "xterm", "COLUMNS": "60"}.items():
        monkeypatch.setenv(name, value)
    swept = session.train("-m", "seed=0,1", *QUICK, "hydra.sweep.dir=D")
    plain = [re.sub(r"\x1b\[[\d;]*m", "", line).rstrip() for line in last_block(swept)]
    assert plain[1].split() == ["job", "seed", "status", "val_loss", "(minimize)", "seconds"]
    assert [line.split()[2] for line in plain[2:4]] == ["completed"] * 2


def test_no_table_where_no_job_began(session: Session) -> None:
    """What Hydra can't compose leaves a folder without one."""
    answer = session.train("-m", "optimizer=sgd,adma", *QUICK, "hydra.sweep.dir=D")
    assert "adma" in error(answer)
    assert not list(session.folder.rglob("multirun.csv"))
    assert error(session.train("-m", "seed=0,1", "hydra.sweep.subdir=x"))


def test_a_table_that_cannot_be_written_costs_one_line(session: Session) -> None:
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "D/multirun.csv")

    def refuse(*_: Any) -> None:
        raise full

    session.monkeypatch.setattr("src.multirun.write_whole", refuse)
    swept = session.train("-m", "seed=0", *QUICK, "hydra.sweep.dir=D")
    assert (swept.status, swept.err) == (
        0, "warning: D/multirun.csv: No space left on device\n"
    )  # fmt: skip
    block = last_block(swept)
    assert block[0].split()[:2] == ["job", "seed"]
    assert len(block) == 2


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
    states = [(row["job"], row["status"]) for row in table(folder)]
    assert states == [("trial-0", "interrupted"), *[("", "not begun")] * 3]
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


@pytest.mark.parametrize(
    ("sweeper", "task", "plan"),
    [
        (
            "hydra._internal.BasicSweeper",
            ["seed=0,1", "a=b"],
            [["seed=0", "a=b"], ["seed=1", "a=b"]],
        ),
        ("hydra._internal.BasicSweeper", ["optimizer=glob(*)"], []),
        ("their.Sweeper", ["seed=0,1"], []),
    ],
)
def test_the_jobs_that_are_known_beforehand(
    sweeper: str, task: list[str], plan: list[list[str]]
) -> None:
    """A glob is known to the sweeper alone, as is what another sweeper does."""
    hydra = {"sweeper": {"_target_": sweeper, "params": None}, "overrides": {"task": task}}
    assert _planned(OmegaConf.create({"hydra": hydra})) == plan
