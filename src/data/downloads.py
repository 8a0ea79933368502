"""Downloads by torchvision, which leave nothing when they fail."""

import hashlib
import http.client
import shutil
import socket
import tempfile
import threading
import time
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from src.errors import InputError

ANSWER_SECONDS = 8.0  # a mirror that has not answered by then is taken for unreachable
ALGORITHMS = {32: "MD5", 64: "SHA-256"}  # by a digest's length


def verify(folder: Path, digests: Mapping[str, str]) -> str:
    """Check files by their digests, MD5 or SHA-256; return one SHA-256 of all of them.

    Raises:
        InputError: a file is altered.
    """
    found = []
    for name, expected in digests.items():
        content, algorithm = (folder / name).read_bytes(), ALGORITHMS[len(expected)]
        digest = hashlib.new(algorithm.replace("-", ""), content).hexdigest()
        if digest != expected:
            raise InputError(
                f"{folder / name}: altered: its {algorithm} is {digest}, expected {expected}; "
                "delete it to download it again"
            )
        found.append(hashlib.sha256(content).hexdigest())
    return hashlib.sha256("".join(found).encode()).hexdigest()


def download(dataset: Any, root: Path, part: str, urls: Sequence[str]) -> None:
    """Download beside the data's folder and rename into it, so that a failure leaves nothing.

    Args:
        dataset: torchvision's class.
        root: the folder that is given to it.
        part: the folder below it that holds the unpacked files.
        urls: one at each mirror; any must answer.

    Raises:
        InputError: naming what is missing and what went wrong.
    """
    problem = unreachable(urls)
    if problem is None:
        problem = _fetch(dataset, root, part)
    if problem is not None:
        raise InputError(
            f"{(root / part.partition('/')[0]).absolute()} is missing and could not be "
            f"downloaded: {problem}; "
            "name the folder that holds it with data.root, or use data=digits, which needs none"
        )


def _fetch(dataset: Any, root: Path, part: str) -> str | None:
    """Let torchvision download, check the archives' MD5 and unpack; None, or what went wrong."""
    stall = socket.getdefaulttimeout()
    missing = [folder for folder in (root, *root.parents) if not folder.exists()]
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=root, prefix=".download-") as beside:
            socket.setdefaulttimeout(ANSWER_SECONDS)
            dataset(beside, download=True)
            shutil.rmtree(root / part, ignore_errors=True)
            (root / part).parent.mkdir(exist_ok=True)
            (Path(beside) / part).rename(root / part)
    except (OSError, http.client.HTTPException, RuntimeError) as error:
        with suppress(OSError):
            for folder in missing:
                folder.rmdir()
        return " ".join(str(error).split())
    finally:
        socket.setdefaulttimeout(stall)
    return None


def unreachable(urls: Sequence[str]) -> str | None:
    """None if any URL answers in time, otherwise why the last one did not.

    torchvision sets no time limit, and looking up a name has none at all, so this asks from a
    thread that can be left behind.
    """
    answers: dict[str, str | None] = {}

    def ask(url: str) -> None:
        try:
            urllib.request.urlopen(url, timeout=ANSWER_SECONDS).close()
            answers[url] = None
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            if not isinstance(reason, TimeoutError):
                answers[url] = str(reason)

    threads = [threading.Thread(target=ask, args=(url,), daemon=True) for url in urls]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + ANSWER_SECONDS
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    reasons = [answers.get(url, f"no answer in {ANSWER_SECONDS:g} s") for url in urls]
    return None if None in reasons else f"{urls[0]}: {reasons[0]}"
