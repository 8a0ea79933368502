"""`detach=true`: the same command goes on as a process in the background."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

from src.console import stdout

LOG = "submitter.log"
KEYS = ("detach", "hydra.sweeper.detach")


def detach(folder: Path, left: str, **hints: str) -> None:
    """Start this command again without `detach`, and say how to follow it and how to stop it.

    Args:
        folder: of the study or the comparison; the command's output goes to a file in it.
        left: what becomes of its work when it is stopped.
        hints: what else can be looked at, by a word for it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    words = [word for word in sys.orig_argv[1:] if word.lstrip("+").partition("=")[0] not in KEYS]
    words.append("detach=false")  # a file may say otherwise
    environment = {key: value for key, value in os.environ.items() if key != "HYDRA_FULL_ERROR"}
    with open(folder / LOG, "ab") as log:
        process = subprocess.Popen(
            [sys.executable, *words],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment,  # this process has set it for itself
            start_new_session=True,
        )
    console = stdout()
    console.print(f"left to process {process.pid} on {os.uname().nodename}")
    follow = shlex.join(["tail", "-f", str(folder / LOG)])
    stop = f"kill {process.pid}  ({left}; the same command goes on)"
    for label, text in {"follow": follow, **hints, "stop": stop}.items():
        console.print(f"{label + ':':<8} {text}")
