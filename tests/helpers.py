"""The entry point, called in this process or in another one."""

import contextlib
import io
import json
import os
import pickle
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from src.composing import register
from src.config import CONF, PROJECT

MNIST_ROOTS = [PROJECT.parent / "shared" / "data", PROJECT / "data"]
TIMES = ("train_seconds", "wall_seconds")

# The entry point with `outputs/` elsewhere: its first argument is the folder.
ELSEWHERE = """
import pathlib, sys, src.config
src.config.OUTPUTS = pathlib.Path(sys.argv.pop(1)) / "outputs"
from src.train import main
main()
"""


@dataclass
class Answer:
    """How a call ended and what it printed."""

    status: int
    out: str
    err: str


@dataclass
class Session:
    """Calls `src.train.main`; see the fixture of the same name."""

    folder: Path
    monkeypatch: pytest.MonkeyPatch

    def train(self, *overrides: str) -> Answer:
        from src.train import main

        self.monkeypatch.setattr(sys, "argv", ["train.py", *overrides])
        out, err, status = io.StringIO(), io.StringIO(), 0
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                main()
            except SystemExit as leaving:
                status = int(leaving.code or 0)
        return Answer(status, out.getvalue(), err.getvalue())


def start(*arguments: str, outputs: Path | None = None, **options: Any) -> subprocess.Popen[str]:
    """A process of the entry point, one thread; `outputs` stands in for the project's folder."""
    entry = ["-m", "src.train"] if outputs is None else ["-c", ELSEWHERE, str(outputs)]
    return subprocess.Popen(
        [sys.executable, *entry, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=options.pop("cwd", PROJECT),
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        **options,
    )


def finish(process: subprocess.Popen[str], timeout: float = 120) -> Answer:
    out, err = process.communicate(timeout=timeout)
    return Answer(process.returncode, out, err)


def composed(*overrides: str) -> DictConfig:
    """A config as the entry point composes it, without its `hydra` node; the caller's own."""
    config: DictConfig = pickle.loads(_pickled(overrides))
    return config


@cache  # composing takes a hundred times as long as copying
def _pickled(overrides: tuple[str, ...]) -> bytes:
    register()
    with initialize_config_dir(str(CONF)):
        return pickle.dumps(compose("config", list(overrides)))


def rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def timeless(folder: Path) -> list[dict[str, Any]]:
    """The rows without what may differ from run to run."""
    return [{key: row[key] for key in row if key not in TIMES} for row in rows(folder)]


def result(folder: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return loaded


def result_folder(answer: Answer) -> Path:
    """Where the run's last line says that its result lies."""
    last = answer.out.splitlines()[-1]
    assert last.startswith("result: "), answer
    return Path(last.removeprefix("result: "))
