"""`detach=true` leaves a search or a comparison to a process in the background."""

import re
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from src.launching.detaching import detach


def test_the_same_command_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a session of its own, without the word; what to do with it is printed."""
    code = "import os, sys; print(sys.argv[1:], os.getsid(0) == os.getpid(), "
    code += "os.environ.get('HYDRA_FULL_ERROR'))"
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")  # as one_line_errors does for its own process
    words = ["-c", code, "n_jobs=2", "detach=true", "++hydra.sweeper.detach=true"]
    monkeypatch.setattr(sys, "orig_argv", ["python", *words])
    detach(tmp_path / "new", "all is put back", trials="python -m src.studies s")
    out = capsys.readouterr().out
    process = int(re.findall(r"left to process (\d+) on ", out)[0])
    assert f"follow:  tail -f {tmp_path}/new/submitter.log\n" in out
    assert "trials:  python -m src.studies s\n" in out
    told = "all is put back; the same command goes on"
    assert f"stop:    kill {process}  ({told})\n" in out
    log, deadline = tmp_path / "new" / "submitter.log", time.monotonic() + 30
    while not log.read_text() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert log.read_text() == "['n_jobs=2', 'detach=false'] True None\n"
    with suppress(psutil.NoSuchProcess):
        psutil.Process(process).wait(30)
