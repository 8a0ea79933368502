"""`detach=true`: the same command goes on as a process in the background."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

from src.console import stdout
from src.overrides import command

LOG = "submitter.log"
KEYS = ("detach", "hydra.sweeper.detach")


def detach(study: str, folder: Path, storage: list[str]) -> None:
    """Start this command again without `detach`, and say how to follow it and how to stop it.

    Args:
        study: its name.
        folder: of the study; the command's output goes to a file in it.
        storage: the words that name the database, without a password.
    """
    folder.mkdir(parents=True, exist_ok=True)
    words = [word for word in sys.orig_argv[1:] if word.lstrip("+").partition("=")[0] not in KEYS]
    with open(folder / LOG, "ab") as log:
        process = subprocess.Popen(
            [sys.executable, *words],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    console = stdout()
    console.print(f"left to process {process.pid} on {os.uname().nodename}")
    console.print(f"follow:  {shlex.join(['tail', '-f', str(folder / LOG)])}")
    console.print(f"trials:  {command(study, *storage, module='src.studies')}")
    console.print(
        f"stop:    kill {process.pid}  (its trials are put back; the same command goes on)"
    )
