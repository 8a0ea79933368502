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
    with ThreadPoolExecutor(MOST) as threads:
        return [*threads.map(lambda spec: _ask(free, spec, theme), specs)]


def _ask(free: "SimpleQueue[Process]", spec: str, theme: dict[str, Any]) -> Drawn:
    """Wait for a free process, and let it draw; draw in the place of one that is gone."""
    process = free.get()
    try:
        return _answer(process, (spec, theme))
    except (OSError, EOFError, pickle.UnpicklingError):
        return draw(spec, theme)
    finally:
        free.put(process)


def _answer(process: Process, asked: tuple[str, dict[str, Any]]) -> Drawn:
    assert process.stdin is not None and process.stdout is not None
    pickle.dump(asked, process.stdin)
    process.stdin.flush()
    drawn = pickle.load(process.stdout)
    if isinstance(drawn, str):
        raise ValueError(drawn)
    return cast(Drawn, drawn)


@cache
def _processes(owner: int) -> "SimpleQueue[Process]":
    """Those of this process, which a fork of it doesn't share; they end with it."""
    free: SimpleQueue[Process] = SimpleQueue()
    for _ in range(min(MOST, _processors())):
        process = subprocess.Popen(
            [sys.executable, "-m", "src.reporting.pictures"],
            cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, process_group=0,
        )  # fmt: skip
        atexit.register(process.kill)
        free.put(process)
    return free


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def serve() -> None:
    """Draw what is asked for, until nobody is there to ask."""
    vl_convert.vegalite_to_svg(NOTHING)  # the first takes half a second more
    while True:
        try:
            spec, theme = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        answer: Drawn | str
        try:
            answer = draw(spec, theme)
        except ValueError as error:
            answer = str(error)
        pickle.dump(answer, sys.stdout.buffer)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    serve()
