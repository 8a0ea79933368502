"""Vega's scripts, which every page holds; bundled once, because that takes a second.

`python -m src.reporting.vega` prints them.
"""

import atexit
import subprocess
import sys
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

import vl_convert

from src.files import write_whole
from src.reporting.pictures import PROJECT
from src.results.place import cached

WHOLE = b"\n/* whole */"  # ends what the other process prints
_BEGUN: list[tuple[subprocess.Popen[bytes], IO[bytes]]] = []  # and what they print


def begin() -> None:
    """Let another process bundle them, if nobody has, while this one does something else."""
    with suppress(OSError):  # then this one does, when a page wants them
        if _BEGUN or scripts.cache_info().currsize or _place().exists():
            return
        printed = TemporaryFile()  # noqa: SIM115, it is read by whoever wants the scripts
        process = subprocess.Popen(
            [sys.executable, "-m", "src.reporting.vega"],
            cwd=PROJECT, stdin=subprocess.DEVNULL, stdout=printed, process_group=0,
        )  # fmt: skip
        atexit.register(process.kill)
        _BEGUN.append((process, printed))


@cache
def scripts() -> str:
    """Vega, Vega-Lite and Vega-Embed as one module."""
    with suppress(OSError, UnicodeDecodeError):
        return _place().read_bytes().decode()
    bundled = _begun() or bundle()
    with suppress(OSError):  # a page can do without
        _place().parent.mkdir(parents=True, exist_ok=True)
        write_whole(_place(), bundled.encode())
    return bundled


def _begun() -> str:
    """What the other process has bundled; empty if there is none, or if it failed."""
    for process, printed in _BEGUN:
        process.wait()
        printed.seek(0)
        text, whole, _ = printed.read().partition(WHOLE)
        if whole:
            return text.decode()
    return ""


def bundle() -> str:
    text: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    return text.replace("</script", "<\\/script")


def _place() -> Path:
    return cached(f"vega-{version('vl-convert-python')}.js")


if __name__ == "__main__":
    with suppress(OSError):  # who asks does it then
        sys.stdout.buffer.write(bundle().encode() + WHOLE)
