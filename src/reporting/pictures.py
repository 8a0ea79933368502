"""Pictures as files, by several processes: each takes one processor, and half a second to begin.

`python -m src.reporting.pictures` is one of them; it reads what it is asked for from its input.
"""

import atexit
import os
import pickle
import re
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from pathlib import Path
from queue import SimpleQueue
from typing import Any, cast

import vl_convert

PROJECT = Path(__file__).parents[2]
MOST = 4  # processes
CLIP = re.compile(r'(?<= id=")clip\d+(?=">)|(?<="url\(#)clip\d+(?=\)")')
ENDINGS = ("svg", "png", "pdf")
SCALE = 1.5  # of PNG files' pixels to points
NOTHING = '{"data": {"values": []}, "mark": "point"}'

Drawn = dict[str, bytes]  # by the ends of files' names
Process = subprocess.Popen[bytes]
Free = SimpleQueue[Process | None]  # None for one that has yet to be started
_STARTED: list[Process] = []


def draw(spec: str, theme: dict[str, Any]) -> Drawn:
    """A Vega-Lite specification as svg, png and pdf."""
    svg = _numbered(vl_convert.vegalite_to_svg(spec, config=theme))
    png, pdf = vl_convert.svg_to_png(svg, scale=SCALE), vl_convert.svg_to_pdf(svg)
    return dict(zip(ENDINGS, (svg.encode(), png, pdf), strict=True))


def _numbered(svg: str) -> str:
    """The same picture is the same file: Vega counts its clips through all pictures."""
    ids = {name: f"clip{n}" for n, name in enumerate(dict.fromkeys(CLIP.findall(svg)))}
    return CLIP.sub(lambda found: ids[found[0]], svg)


def begin() -> None:
    """Start the processes, while this one does something else."""
    _processes(os.getpid())


def draw_all(specs: Sequence[str], theme: dict[str, Any]) -> list[Drawn]:
    """Vega-Lite specifications as svg, png and pdf; as many at once as there are processors.

    Raises:
        ValueError: one can't be drawn.
    """
    free = _processes(os.getpid())
    threads = ThreadPoolExecutor(free.qsize())
    try:
        return [*threads.map(lambda spec: _ask(free, spec, theme), specs)]
    except (KeyboardInterrupt, SystemExit):
        threads.shutdown(wait=False, cancel_futures=True)
        for process in _STARTED:  # a thread waits for its answer, and this process for the thread
            process.kill()
        raise
    finally:
        threads.shutdown()


def _ask(free: Free, spec: str, theme: dict[str, Any]) -> Drawn:
    """Wait for a free process, and let it draw; draw in the place of one that fails."""
    process = free.get()
    if process is None or process.poll() is not None:
        process = _started()
    answer: Drawn | str | None = None
    try:
        if process is not None:
            answer = _answer(process, (spec, theme))
    except Exception:  # part of its answer may still come
        assert process is not None
        process.kill()
    finally:
        free.put(process)
    if isinstance(answer, str):
        raise ValueError(answer)
    return draw(spec, theme) if answer is None else answer


def _answer(process: Process, asked: tuple[str, dict[str, Any]]) -> Drawn | str:
    assert process.stdin is not None and process.stdout is not None
    pickle.dump(asked, process.stdin)
    process.stdin.flush()
    return cast(Drawn | str, pickle.load(process.stdout))


@cache
def _processes(owner: int) -> Free:
    """Those of this process, which a fork of it doesn't share; they end with it."""
    free: Free = SimpleQueue()
    for _ in range(min(MOST, _processors())):
        free.put(_started())
    return free


def _started() -> Process | None:
    """A new one; None where there is no room for it."""
    with suppress(OSError):
        process = subprocess.Popen(
            [sys.executable, "-m", "src.reporting.pictures"],
            cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, process_group=0,
        )  # fmt: skip
        atexit.register(process.kill)
        _STARTED.append(process)
        return process
    return None


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def serve() -> None:
    """Draw what is asked for, until nobody is there to ask, or to hear."""
    with os.fdopen(os.dup(1), "wb") as out, suppress(EOFError, OSError, pickle.UnpicklingError):
        os.dup2(2, 1)  # what else prints mustn't stand among the answers
        vl_convert.vegalite_to_svg(NOTHING)  # the first takes half a second more
        while True:
            spec, theme = pickle.load(sys.stdin.buffer)
            answer: Drawn | str
            try:
                answer = draw(spec, theme)
            except ValueError as error:
                answer = str(error)
            pickle.dump(answer, out)
            out.flush()


if __name__ == "__main__":
    serve()
