"""Pictures are drawn by processes beside this one, which may be gone."""

import json
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO

import psutil
import pytest

from src.reporting import pictures
from src.reporting.pictures import draw, draw_all

SPECS = [
    json.dumps({"data": {"values": [{"a": 1}]}, "mark": mark, "encoding": {"x": {"field": "a"}}})
    for mark in ("point", "bar", "tick")
]
THEME = {"background": "pink"}


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[subprocess.Popen[bytes]]]:
    """The processes of this test alone: two, and those that take their places."""
    monkeypatch.setattr(pictures, "_processors", lambda: 2)
    monkeypatch.setattr(pictures, "_STARTED", started := list[subprocess.Popen[bytes]]())
    free = pictures._processes.__wrapped__(os.getpid())
    monkeypatch.setattr(pictures, "_processes", lambda owner: free)
    yield started
    assert free.qsize() == 2, "each came back"
    for process in started:
        process.kill()
        process.wait()


def test_they_draw_what_this_process_would(two: list[subprocess.Popen[bytes]]) -> None:
    drawn = draw_all(SPECS, THEME)
    assert [each["svg"] for each in drawn] == [draw(spec, THEME)["svg"] for spec in SPECS]
    assert b"pink" in drawn[0]["svg"] and drawn[0]["png"].startswith(b"\x89PNG")
    assert drawn[0]["pdf"].startswith(b"%PDF") and [*drawn[0]] == ["svg", "png", "pdf"]


def test_what_cannot_be_drawn(two: list[subprocess.Popen[bytes]]) -> None:
    """It is told, and the processes go on."""
    with pytest.raises(ValueError, match="SVG conversion failed"):
        draw_all([SPECS[0], '{"mark": 3}'], THEME)
    assert len(draw_all(SPECS, THEME)) == 3


def same(drawn: list[dict[str, bytes]]) -> bool:
    return [each["svg"] for each in drawn] == [draw(spec, THEME)["svg"] for spec in SPECS]


def test_a_process_that_is_gone(two: list[subprocess.Popen[bytes]]) -> None:
    """Another takes its place."""
    for process in two:
        process.kill()
        process.wait()
    assert same(draw_all(SPECS, THEME)) and len(two) == 4


def test_processes_that_answer_otherwise(
    two: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """They end, and this one draws: the rest of an answer would stand before the next one."""
    real = pictures.pickle.load

    def half(file: IO[bytes]) -> object:
        file.read(10)
        raise pictures.pickle.UnpicklingError("it was half of it")

    monkeypatch.setattr(pictures.pickle, "load", half)
    assert same(draw_all(SPECS, THEME))
    assert all(process.wait(10) for process in two)
    monkeypatch.setattr(pictures.pickle, "load", real)
    assert same(draw_all(SPECS, THEME))


def test_where_no_process_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    def popen(*_: object, **__: object) -> None:
        raise BlockingIOError("too many")

    monkeypatch.setattr(pictures.subprocess, "Popen", popen)
    free = pictures._processes.__wrapped__(os.getpid())
    monkeypatch.setattr(pictures, "_processes", lambda owner: free)
    assert same(draw_all(SPECS, THEME))


def test_ctrl_c_while_they_draw(
    two: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not kept waiting, though one doesn't answer."""
    for process in two:
        process.send_signal(signal.SIGSTOP)
    timer = threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        draw_all(SPECS, THEME)
    assert all(process.wait(10) for process in two[:2])


def test_what_prints_beside_the_answers(tmp_path: Path) -> None:
    """Whatever prints to the output of a process that draws, it stands elsewhere."""
    code = "from src.reporting import pictures; pictures.vl_convert.vegalite_to_svg = print"
    code += "; pictures.draw = lambda *_: print('noise') or {}; pictures.serve()"
    done = subprocess.run(
        [sys.executable, "-c", code], input=pickle.dumps(("spec", {})), capture_output=True
    )
    assert pickle.loads(done.stdout) == {} and done.returncode == 0


def test_there_are_as_many_as_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    """But not more than `MOST`; a fork of this process has its own."""
    monkeypatch.setattr(pictures, "_started", lambda: None)
    assert pictures._processors() >= 1
    for processors, count in ((1, 1), (3, 3), (64, pictures.MOST)):
        monkeypatch.setattr(pictures, "_processors", lambda processors=processors: processors)
        assert pictures._processes.__wrapped__(0).qsize() == count
    pictures._processes.cache_clear()
    assert pictures._processes(1) is pictures._processes(1) is not pictures._processes(2)
    pictures._processes.cache_clear()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_they_end_with_their_process() -> None:
    """Though that is killed, and has no time to say so."""
    code = (
        "from src.reporting import pictures; pictures.begin(); print('there', flush=True); input()"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert parent.stdout is not None and parent.stdout.readline() == b"there\n"
    children = psutil.Process(parent.pid).children()
    assert children
    parent.send_signal(signal.SIGKILL)
    assert parent.communicate()[1] == b"", "nobody complains"
    deadline = time.monotonic() + 30
    while any(map(alive, children)):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def alive(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False
