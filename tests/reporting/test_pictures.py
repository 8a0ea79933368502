"""Pictures are drawn by processes beside this one, which may be gone."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress

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
    """The processes of this test alone."""
    monkeypatch.setattr(pictures, "_processors", lambda: 2)
    free = pictures._processes.__wrapped__(os.getpid())
    monkeypatch.setattr(pictures, "_processes", lambda owner: free)
    processes = [free.get() for _ in range(2)]
    for process in processes:
        free.put(process)
    yield processes
    assert free.qsize() == 2, "each came back"
    for process in processes:
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


def test_a_process_that_is_gone(two: list[subprocess.Popen[bytes]]) -> None:
    """This one draws in its place."""
    for process in two:
        process.kill()
        process.wait()
    assert [each["svg"] for each in draw_all(SPECS, THEME)] == [
        draw(spec, THEME)["svg"] for spec in SPECS
    ]


def test_there_are_as_many_as_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    """But not more than `MOST`; a fork of this process has its own."""
    started = list[list[str]]()
    monkeypatch.setattr(pictures.subprocess, "Popen", lambda command, **_: Started(command))

    class Started:
        def __init__(self, command: list[str]) -> None:
            started.append(command)

        def kill(self) -> None: ...

    for processors, count in ((1, 1), (3, 3), (64, pictures.MOST)):
        started.clear()
        monkeypatch.setattr(pictures, "_processors", lambda processors=processors: processors)
        assert pictures._processes.__wrapped__(0).qsize() == len(started) == count
    assert pictures._processors.__module__ != pictures.__name__, "of this test"


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_they_end_with_their_process() -> None:
    """Though that is killed, and has no time to say so."""
    code = (
        "from src.reporting import pictures; pictures.begin(); print('there', flush=True); input()"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert parent.stdout is not None and parent.stdout.readline() == b"there\n"
    children = psutil.Process(parent.pid).children()
    assert children
    parent.send_signal(signal.SIGKILL)
    parent.communicate()
    deadline = time.monotonic() + 30
    while any(map(alive, children)):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def alive(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False
