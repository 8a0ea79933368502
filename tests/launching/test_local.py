"""Workers on this machine."""

import subprocess
import sys
from pathlib import Path

import pytest

from src.launching import local
from src.launching.local import LocalWorkers


def test_workers_share_out_the_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One each, or several on one; without a GPU nothing is said."""
    code = "import os; print(os.environ.get('CUDA_VISIBLE_DEVICES'))"
    monkeypatch.setattr(sys, "orig_argv", ["python", "-c", code])
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    told = {}
    for name, gpus in (("two", ["4", "6"]), ("one", ["0"]), ("none", [])):
        workers = LocalWorkers(tmp_path / name, gpus)
        workers.start([0, 1, 2])
        assert workers.running() == 3 and workers.here
        for process in workers.processes.values():
            process.wait(20)
        assert [(end.number, end.status) for end in workers.ended()] == [(0, 0), (1, 0), (2, 0)]
        assert workers.running() == 0 and workers.left_over() == 0
        logs = [tmp_path / name / f"worker-{number}.log" for number in (0, 1, 2)]
        told[name] = [log.read_text().strip() for log in logs]
    assert told == {"two": ["4", "6", "4"], "one": ["0"] * 3, "none": ["None"] * 3}


def test_all_are_asked_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workers = LocalWorkers(tmp_path)
    monkeypatch.setattr(
        local, "start_process", lambda number, folder, gpu: subprocess.Popen(["sleep", "60"])
    )
    workers.start([0, 1])
    processes = [*workers.processes.values()]
    workers.stop()
    assert [process.returncode for process in processes] == [-15, -15]
