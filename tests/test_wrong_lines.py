"""Command lines made at random, most of them wrong: each ends in one line, none in a traceback."""

import contextlib
import importlib
import io
import random
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

KEYS = [
    *("optimizer", "model", "data", "trainer", "scheduler", "sampler", "pruner", "logger"),
    *("experiment", "sweeps", "seed", "search", "trial", "resume", "objective", "methods"),
    *("optimizer.lr", "optimizer.betas", "optimizer.betas.0", "optimizer.betas.7", "optimizer"),
    *("optimizer._target_", "model.hidden_sizes", "model.activation", "model._target_"),
    *("data.batch_size", "data.root", "data._target_", "data.validation_fraction", "data.mean"),
    *("data.path", "data.target", "data.drop_last", "loss", "loss._target_", "loss.class_weights"),
    *("problem", "trainer.clip_norm", "trainer.accumulate", "loss.label_smoothing"),
    *("trainer.epochs", "trainer.threads", "trainer.device", "trainer.evaluate", "trainer.early"),
    *("trainer.early_stopping.patience", "trainer.evaluate_at_end", "trainer.checkpoint_every"),
    *("objective.metric", "objective.direction", "objective.row", "scheduler.warmup_steps"),
    *("protocol.seeds", "protocol.metric", "protocol.name", "protocol.target", "protocol"),
    *("n_trials", "n_jobs", "study", "storage", "hydra.sweeper.params", "hydra.sweeper.storage"),
    *("hydra.run.dir", "hydra.sweep.dir", "hydra.sweep.subdir", "hydra.job.chdir", "hydra/sweeper"),
    *("hydra/launcher", "hydra.verbose", "hydra.callbacks", "hydra.sweeper", "hydra", "hydra.mode"),
    *("lr", "optimzer", "data.batchsize", "a.b.c", "x", "0", "a b", "ü", "", "_target_", "@", "/"),
    *("search.one_minus_beta1", "search.x", "logger.mlflow.tracking_uri", "hydra.searchpath"),
]
VALUES = [
    *("", "null", "true", "no", "0", "1", "-1", "1e-3", "1e400", "nan", "inf", "0.5", "9" * 30),
    *("abc", "adam", "sgd", "torch/adam", "mnist", "digits", "adma", "a/b", "../x", "/dev/null/x"),
    *("[]", "[1]", "[1,2", "{}", "{a:1}", "[[1]]", "[null]", "''", "'a b'", '"', "a=b", "~", "ü"),
    *("1,2", "a,b", "[1],[2]", "null,1", "1,1", "range(1,3)", "range(3,1)", "range(a)", "glob(*)"),
    *("interval(0,1)", "interval(1,0)", "interval(0,0)", "interval(nan,1)", "choice(1)"),
    *("tag(log,interval(0,1))", "tag(log,interval(1e-3,1))", "tag(x,1)", "tag(log,range(1,9))"),
    *("${x}", "${oc.env:HOME}", "${", "${seed}", "???", "'???'", "shuffle(1,2)", "f(1)", "\\", "%"),
    *("src.optimizers.Adam", "os.system", "torch.optim.SGD", "torch.optim.LBFGS", "src.x.Y", "."),
    *("val_loss", "train_accuracy", "[sgd,adam]", "[sgd]", "[sgd,sgd]", "sqlite:///x", "oops://"),
    *(
        "\n",
        "a\tb",
        "\x1b[31m",
        "💥",
        "[x]",
        "none",
        "basic",
        "study",
        "optuna",
        "submitit_slurm",
        "table",
        "arrays",
        "own",
        "mse",
    ),
]
FLAGS = ["-m", "--cfg", "job", "--help", "-cd", "nowhere", "--config-name", "x", "--lr", "-p", "a"]
PREFIXES = ["", "", "", "", "", "+", "++", "~"]
ENTRIES = ["train", "train", "train", "-m", "-m", "-m", "compare", "compare", "replay", "report",
           "runs", "studies", "trajectories"]  # fmt: skip


def line(chance: random.Random) -> tuple[str, list[str]]:
    """An entry point and its arguments."""
    entry = chance.choice(ENTRIES)
    words = [override(chance) for _ in range(chance.choice([1, 1, 2, 3]))]
    if chance.random() < 0.15:
        words.insert(chance.randrange(len(words) + 1), chance.choice(FLAGS))
    if entry in ("replay", "report", "studies", "trajectories"):
        words = [chance.choice([*VALUES, "run", "--storage", "--top", "--into", *FLAGS])
                 for _ in range(chance.choice([0, 1, 1, 2]))]  # fmt: skip
    if entry == "-m":
        search = chance.choice([["sweeps=momentum"], ["hydra/sweeper=study"], []])
        return "train", ["-m", *search, *words]
    return entry, words


def override(chance: random.Random) -> str:
    equals = "" if chance.random() < 0.05 else "="
    return f"{chance.choice(PREFIXES)}{chance.choice(KEYS)}{equals}{chance.choice(VALUES)}"


class Reached(SystemExit):
    """The line is right: what it asks for would begin here."""


@pytest.fixture
def nothing_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """All checks are made, but nothing is trained, downloaded or drawn."""
    import src.compare
    import src.sweeping.sweeper
    import src.training.run
    import src.trajectories

    def reached(*_: Any, **__: Any) -> None:
        raise Reached(0)

    monkeypatch.setattr("src.config.OUTPUTS", tmp_path / "outputs")
    monkeypatch.setattr("src.compare.OUTPUTS", tmp_path / "outputs")
    monkeypatch.setattr("src.data.idx.download", reached)
    monkeypatch.setattr(src.training.run, "run", reached)
    monkeypatch.setattr(src.sweeping.sweeper.StudySweeper, "_open", reached)
    monkeypatch.setattr(src.compare, "_conduct", reached)
    monkeypatch.setattr(src.trajectories, "draw_all", reached)
    monkeypatch.chdir(tmp_path)
    yield tmp_path


def ends_in_one_line(monkeypatch: pytest.MonkeyPatch, entry: str, words: list[str]) -> None:
    monkeypatch.setattr(sys, "argv", [f"{entry}.py", *words])
    out, err, status = io.StringIO(), io.StringIO(), 0
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        warnings.catch_warnings(),
    ):
        warnings.filterwarnings("error", message="Callback")  # Hydra's word for an error of ours
        try:
            importlib.import_module(f"src.{entry}").main()
        except SystemExit as leaving:
            status = int(leaving.code or 0)
    said = err.getvalue()
    assert status in (0, 1, 2), (entry, words, said)
    assert "Traceback" not in said and "Error" not in said.split(":")[0], (entry, words, said)
    if status == 1:
        assert said.startswith("error: ") and said.count("\n") == 1, (entry, words, said)
    if status == 2:
        assert said.startswith(("error: ", "usage: ")), (entry, words, said)


@pytest.mark.parametrize("seed", [*range(4), *(pytest.param(n, marks=pytest.mark.slow)
                                               for n in range(4, 40))])  # fmt: skip
def test_no_traceback(nothing_begins: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(10):
        entry, words = line(chance)
        ends_in_one_line(monkeypatch, entry, words)
