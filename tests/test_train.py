"""The entry point: runs and what they leave, and what bad input says."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from src.config import CONF
from tests.helpers import Session, finish, result, result_folder, rows, start, timeless

BAD = [  # override, what the line must say
    ("optimizer=adamm", "optimizer=adamm: no such choice; did you mean adam?"),
    ("optimizer=torch/adamm", "optimizer=torch/adamm: no such choice; did you mean torch/adam?"),
    ("optimizer=torch/adam +optimizer.capturable=true", "If capturable=True"),
    ("optimizer=sgd optimizer.lr=1e39", "value cannot be converted to type float"),
    ("optimizer=torch/adam optimizer.amsgrad=no", "amsgrad must be true or false, got 'no'"),
    ("+optimizer.maximize=no", "maximize must be true or false, got 'no'"),
    ("scheduler=cosine scheduler.end_factor=2 data=mnist", "must be a number in [0, 1], got 2"),
    ("experiment=tutoral", "did you mean tutorial?"),
    ("data=minst", "did you mean mnist?"),
    ("optmizer=adam", "optmizer: no such key; did you mean optimizer?"),
    ("experimnt=tutorial", "experimnt: no such key; did you mean experiment?"),
    ("optimizer.lrr=0.1", "optimizer.lrr: no such key; did you mean lr?"),
    ("trainer.epoch=1", "trainer.epoch: no such key; did you mean epochs?"),
    ("+trainer.epoch=1", "trainer.epoch=1: there is no such key"),
    ("+optimizer.gamma=0.9", "gamma"),
    ("optimizer.lr=-1", "lr must be a number >= 0, got -1"),
    ("optimizer.lr=nan", "lr must be a number >= 0, got nan"),
    ("optimizer.lr=inf", "lr must be a number >= 0, got inf"),
    ("optimizer.lr=abc", "lr must be a number >= 0, got 'abc'"),
    ("optimizer.betas=[0.9]", "betas must be two numbers in [0, 1), got [0.9]"),
    ("optimizer.betas=[1.0,0.999]", "betas[0] must be a number in [0, 1), got 1.0"),
    ("trainer.epochs=0", "trainer.epochs=0: input should be greater than or equal to 1"),
    ("trainer.epochs=1.5", "trainer.epochs=1.5: input should be a valid integer"),
    ("trainer.epochs=two", "trainer.epochs=two: input should be a valid integer"),
    ("trainer.threads=0", "trainer.threads=0"),
    ("trainer.threads=100000", "trainer.threads=100000"),
    ("trainer.stack=0", "trainer.stack=0: must be a whole number from 1 on, or auto"),
    ("trainer.stack=1.5", "trainer.stack=1.5: must be a whole number from 1 on, or auto"),
    ("trainer.device=cuda", "trainer.device=cuda: not available here"),
    ("trainer.device=tpu", "trainer.device=tpu"),
    ("trainer.evaluate=[dev]", "input should be 'train', 'val' or 'test'"),
    ("trainer.evaluate=[val,val]", "names a set twice"),
    ("trainer.evaluate=[train]", "objective.metric=val_loss"),
    ("trainer.early_stopping.patience=0", "trainer.early_stopping.patience=0"),
    ("data.batch_size=0", "data.batch_size=0"),
    ("data.batch_size=1151", "data.batch_size=1151: must be from 1 to 1150"),
    ("data.batch_size=2000", "must be from 1 to 1150, the size of the training set"),
    ("data.validation_fraction=0.9999", "fraction=0.9999: leaves 0 of 1438 samples to train on"),
    (
        "data.validation_fraction=0.99",
        "fraction=0.99: leaves 14 of 1438 samples to train on; data.b",
    ),
    ("data.validation_fraction=1", "data.validation_fraction=1"),
    ("data.validation_fraction=0", "leaves no validation set"),
    ("data.validation_fraction=0.0001", "leaves no sample"),
    ("data.std=0", "data.std=0"),
    ("data=mnist data.root=/nowhere data.std=-1", "data.std=-1: must be > 0"),
    ("data=cifar10 data.root=/nowhere data.std=0", "data.std=0: must be > 0"),
    ("data._target_=src.data.minst.load", "data._target_=src.data.minst.load: "),
    ("model.hidden_sizes=[0]", "hidden_sizes must be integers >= 1, got [0]"),
    ("model.hidden_sizes=[1.5]", "hidden_sizes must be integers >= 1, got [1.5]"),
    ("model.activation=softmax", "activation must be one of relu"),
    ("seed=-1", "seed=-1"),
    ("seed=0.5", "seed=0.5: input should be a valid integer"),
    ("objective.metric=loss", "objective.metric=loss"),
    ("objective.metric=val_mae", "src.losses.CrossEntropy measures loss, accuracy"),
    ("loss=mse", "needs numbers as targets, but those of the data are 10 classes"),
    ("objective.row=worst", "objective.row=worst"),
    ("optimizer._target_=os.system", "optimizer._target_=os.system: not allowed"),
    ("optimizer._target_=torch.optim.adam.torch.load", "torch.serialization.load"),
    ("+logger.x._target_=torch.optim.optimizer.functools.partial", "functools.partial"),
    ("optimizer._target_=src.models.MLP", "src.models.MLP"),
    ("hydra.callbacks.check._target_=os.getcwd", "whitelist"),
    ("hydra.run.dir=/dev/null/run", "hydra.run.dir=/dev/null/run: Not a directory"),
    ("data=mnist data.root=null", "data.root=null"),
]


@pytest.mark.parametrize(("override", "says"), BAD, ids=[override for override, _ in BAD])
def test_bad_input(session: Session, override: str, says: str) -> None:
    answer = session.train(*override.split())
    assert answer.status == 1
    assert answer.out == ""
    (line,) = answer.err.splitlines()
    assert line.startswith("error: ")
    assert says in line
    assert list(session.folder.iterdir()) == []


@pytest.mark.parametrize("override", ["lr", "optimizer.lr=["])
def test_bad_form(session: Session, override: str) -> None:
    answer = session.train(override)
    assert answer.status == 2
    assert len(answer.err.splitlines()) == 1
    assert list(session.folder.iterdir()) == []


def test_settings_are_refused_before_data_is_read(session: Session) -> None:
    """The data set isn't there; reading it first would say so, after trying to download it."""
    for override, says in [("optimizer.lr=-1", "lr must be"), ("model.hidden_sizes=[0]", "hidden")]:
        answer = session.train("data=mnist", "data.root=nowhere", override)
        assert answer.status == 1
        assert says in answer.err


def test_full_error_shows_the_traceback(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    from src.errors import InputError

    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    with pytest.raises(InputError, match="lr must be"):
        session.train("optimizer.lr=-1")


def test_folder_in_use(session: Session) -> None:
    (session.folder / "taken").mkdir()
    (session.folder / "taken" / "notes").write_text("mine")
    answer = session.train("hydra.run.dir=taken")
    assert answer.status == 1
    assert "hydra.run.dir=taken: it exists and is not empty" in answer.err
    assert [path.name for path in session.folder.rglob("*")] == ["taken", "notes"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_read_only_folder(session: Session) -> None:
    (session.folder / "locked").mkdir(mode=0o500)
    for folder in ("locked", "locked/run"):
        answer = session.train(f"hydra.run.dir={folder}")
        assert answer.status == 1
        assert f"hydra.run.dir={folder}" in answer.err
        assert len(answer.err.splitlines()) == 1


def test_what_a_run_leaves(session: Session) -> None:
    answer = session.train("trainer.epochs=3", "optimizer=sgd", "seed=3")
    assert (answer.status, answer.err) == (0, "")
    folder = result_folder(answer)
    assert folder.parent.parent == session.folder / "outputs" / "runs"
    assert folder.name.endswith("-sgd-digits")
    left = {path.name for path in folder.iterdir()}
    assert left >= {".hydra", "config.yaml", "provenance.json", "metrics.jsonl", "result.json"}
    kept = yaml.safe_load((folder / "config.yaml").read_text())
    assert (kept["seed"], kept["optimizer"]["lr"]) == (3, 0.001)
    assert "${" not in (folder / "config.yaml").read_text()
    end, lines = result(folder), rows(folder)
    assert end["status"] == "completed"
    assert end["final"] == lines[-1]
    assert end["best"] == min(lines, key=lambda row: row["val_loss"])
    assert end["objective"]["value"] == end["best"]["val_loss"]
    assert (end["steps"], end["samples"], end["seed"]) == (3 * 36, 3 * 1150, 3)
    assert end["parameters"] == 64 * 100 + 100 + 100 * 10 + 10
    facts = json.loads((folder / "provenance.json").read_text())
    assert facts["device"] == "cpu"
    assert {"torch", "hydra-core", "optuna", "numpy"} <= facts["packages"].keys()
    shown = [line for line in answer.out.splitlines() if line.startswith("epoch")]
    assert len(shown) == len(lines) == 3
    for number in (lines[-1]["batch_loss"], lines[-1]["val_loss"], lines[-1]["val_accuracy"]):
        assert f"{number:.4f}" in shown[-1]


def test_divergence(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    from src.hooks import Check

    returned = []
    monkeypatch.setattr(
        Check,
        "on_job_end",
        lambda self, config, job_return, **_: returned.append(job_return.return_value),
    )
    diverging = ("optimizer=sgd", "optimizer.lr=1e30", "trainer.epochs=4")
    answer = session.train(*diverging)
    maximizing = ("objective.direction=maximize", "objective.metric=val_accuracy")
    other = session.train(*diverging, *maximizing)
    assert (answer.status, other.status) == (0, 0)
    assert returned == [math.inf, -math.inf]
    end, lines = result(result_folder(answer)), rows(result_folder(answer))
    assert end["status"] == "diverged"
    assert end["objective"]["value"] is None
    assert len(lines) < 4
    assert None in (lines[-1]["batch_loss"], lines[-1]["val_loss"])


@pytest.mark.parametrize(("row", "counted"), [("best", "best"), ("last", "final")])
def test_the_row_that_counts(session: Session, row: str, counted: str) -> None:
    """The highest loss is the first row's, so that best and last differ."""
    wanting = ("trainer.epochs=3", "objective.direction=maximize", f"objective.row={row}")
    end = result(result_folder(session.train(*wanting)))
    assert end["best"]["epoch"] == 1
    assert end["best"]["val_loss"] > end["final"]["val_loss"]
    assert end["objective"]["value"] == end[counted]["val_loss"]


def test_early_stopping(session: Session) -> None:
    stopping = ("trainer.early_stopping.patience=2", "trainer.early_stopping.min_delta=10")
    answer = session.train("trainer.epochs=9", *stopping)
    folder = result_folder(answer)
    assert result(folder)["status"] == "early_stopped"
    assert len(rows(folder)) == 3  # the first is the best, then two that were not better by 10


LARGE = ("trainer.epochs=1", "model.hidden_sizes=[1000]", "data.batch_size=1024")


@pytest.mark.parametrize(
    ("settings", "threads"),
    [
        (("trainer.epochs=1",), 1),
        (LARGE, 2),
        (("trainer.epochs=1", "trainer.threads=2"), 2),
        ((*LARGE, "trainer.threads=1"), 1),
    ],
)
def test_threads_follow_the_work_and_not_the_machine(
    session: Session, settings: tuple[str, ...], threads: int
) -> None:
    """On a machine of one, two or three cores, as far as torch can tell."""
    import torch

    weights = set()
    for cores in (1, 2, 3):
        torch.set_num_threads(cores)
        folder = result_folder(session.train(*settings, f"hydra.run.dir=run-{cores}"))
        assert torch.get_num_threads() == threads
        assert json.loads((folder / "provenance.json").read_text())["threads"] == threads
        weights.add(result(folder)["weights_sha256"])
    assert len(weights) == 1


@pytest.mark.parametrize("arguments", [["--help"], ["--cfg", "job"], ["optimizer.lrr=1"]])
def test_answers_without_torch(arguments: list[str]) -> None:
    code = (
        "import sys\nfrom src.train import main\n"
        "try: main()\n"
        "finally: print('torch' in sys.modules, file=sys.stderr)"
    )
    command = [sys.executable, "-c", code, *arguments]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert answer.stderr.splitlines()[-1] == "False"
    if arguments[0] == "--help":
        assert "fairstep trains one model" in answer.stdout
        assert "adam" in answer.stdout
    if arguments[0] == "--cfg":
        assert yaml.safe_load(answer.stdout)["optimizer"]["_target_"] == "src.optimizers.Adam"


def test_bad_input_in_a_process(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    bad = [("optimizer=adamm", "did you mean adam?"), ("optimizer.lr=-1", "got -1")]
    processes = [start(override, f"hydra.run.dir={folder}") for override, _ in bad]
    for process, (_, says) in zip(processes, bad, strict=True):
        answer = finish(process)
        assert (answer.status, answer.out) == (1, "")
        assert len(answer.err.splitlines()) == 1
        assert says in answer.err
    assert not folder.exists()


def test_processes_repeat_to_the_bit_and_do_not_collide(session: Session) -> None:
    settings = ("optimizer=momentum", "trainer.epochs=2", "trainer.evaluate=[train,val,test]")
    same = [start(*settings, "seed=1", outputs=session.folder) for _ in range(2)]
    other = session.train(*settings, "seed=2")
    answers = [*map(finish, same), other]
    assert [answer.status for answer in answers] == [0, 0, 0], answers
    first, second, third = (result_folder(answer) for answer in answers)
    assert len({first, second, third}) == 3
    assert timeless(first) == timeless(second)
    assert result(first)["weights_sha256"] == result(second)["weights_sha256"]
    assert result(first)["config_sha256"] == result(second)["config_sha256"]
    assert timeless(first) != timeless(third)
    assert result(first)["weights_sha256"] != result(third)["weights_sha256"]


def test_interrupt(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    process = start("trainer.epochs=1000000", f"hydra.run.dir={folder}")
    metrics, deadline = folder / "metrics.jsonl", time.monotonic() + 60
    while not (metrics.is_file() and metrics.read_text().count("\n") > 1):
        assert process.poll() is None, finish(process)
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    answer = finish(process)
    assert answer.status == 130
    said = f"interrupted; this goes on: python -m src.train resume={folder}\n"
    assert answer.err == said
    end, lines = result(folder), rows(folder)
    assert end["status"] == "interrupted"
    assert end["final"] == lines[-1]
    assert len(lines) > 1


def test_every_choice_is_listed_in_the_help(session: Session) -> None:
    shown = session.train("--help").out
    for path in CONF.glob("*/*.yaml"):
        assert path.stem in shown


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (
            ("hydra/launcher=x",),
            "error: hydra/launcher=x: no launcher of workers (allowed: joblib, local, ray, "
            "submitit_local, submitit_slurm)\n",
        ),
        (("--config-name=nope",), "error: --config-name=nope: no such choice\n"),
    ],
)
def test_choices_of_hydras_own(session: Session, words: tuple[str, ...], says: str) -> None:
    answer = session.train(*words)
    assert (answer.status, answer.err) == (1, says)
