"""MNIST and the sets made in its image: torchvision's files on disk."""

import hashlib
import http.client
import shutil
import socket
import tempfile
import threading
import time
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Any

from src.data.dataset import Dataset, Split
from src.data.pixels import scaled
from src.errors import InputError
from src.shapes import Shapes

ANSWER_SECONDS = 8.0  # a mirror that has not answered by then is taken for unreachable
SUMS = "SHA256SUMS"  # written beside files that were downloaded and verified

# The unpacked files' sizes, common to MNIST and the sets made in its image.
SIZES = {
    "train-images-idx3-ubyte": 47_040_016,
    "train-labels-idx1-ubyte": 60_008,
    "t10k-images-idx3-ubyte": 7_840_016,
    "t10k-labels-idx1-ubyte": 10_008,
}
MNIST_SUMS = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}


SHAPES = Shapes((1, 28, 28), classes=10)


def read(class_name: str, root: str | None, mean: float, std: float) -> Dataset:
    """Read one of torchvision's MNIST-like classes; download it where a file is missing.

    Args:
        class_name: torchvision's.
        root: the folder that it is kept in.
        mean, std: pixels, scaled to [0, 1], become (pixel - mean) / std.

    Raises:
        InputError: the data are missing, truncated or altered.
    """
    import torchvision

    if root is None:
        raise InputError("data.root=null: the folder that holds the data set is needed")
    dataset = getattr(torchvision.datasets, class_name)
    if missing(class_name, root):
        _download(dataset, Path(root))
    digest = _verify(Path(root) / class_name / "raw", class_name)
    train, test = (
        Split(scaled(part.data.float() / 255, mean, std), part.targets)
        for part in (dataset(root, train=True), dataset(root, train=False))
    )
    return Dataset(train, test, classes=SHAPES.classes, sha256=digest)


def missing(class_name: str, root: str | None) -> bool:
    """Whether a file isn't there."""
    folder = Path(root or "") / class_name / "raw"
    return not all((folder / name).is_file() for name in SIZES)


def _verify(folder: Path, class_name: str) -> str:
    """Check the four files' sizes and digests; return one digest of all of them."""
    expected = MNIST_SUMS if class_name == "MNIST" else _read_sums(folder)
    digests = []
    for name, size in SIZES.items():
        content = (folder / name).read_bytes()
        if len(content) != size:
            raise InputError(
                f"{folder / name}: truncated or altered: {len(content)} bytes, expected {size}; "
                "delete it to download it again"
            )
        digests.append(hashlib.sha256(content).hexdigest())
        if name in expected and digests[-1] != expected[name]:
            raise InputError(
                f"{folder / name}: altered: its SHA-256 is {digests[-1]}, expected "
                f"{expected[name]}; delete it to download it again"
            )
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def _read_sums(folder: Path) -> dict[str, str]:
    """What `_download` wrote; nothing for files that were put there by hand."""
    if not (folder / SUMS).is_file():
        return {}
    lines = (line.split() for line in (folder / SUMS).read_text().splitlines())
    return {name: digest for digest, name in lines}


def _download(dataset: Any, root: Path) -> None:
    """Download beside the data's folder and rename into it, so that a failure leaves nothing."""
    problem = _unreachable([mirror + dataset.resources[0][0] for mirror in dataset.mirrors])
    if problem is None:
        problem = _fetch(dataset, root)
    if problem is not None:
        raise InputError(
            f"{(root / dataset.__name__).absolute()} is missing and could not be downloaded: "
            f"{problem}; "
            "name the folder that holds it with data.root, or use data=digits, which needs none"
        )


def _fetch(dataset: Any, root: Path) -> str | None:
    """Let torchvision download, check the archives' MD5 and unpack; None, or what went wrong."""
    stall = socket.getdefaulttimeout()
    missing = [folder for folder in (root, *root.parents) if not folder.exists()]
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=root, prefix=".download-") as beside:
            socket.setdefaulttimeout(ANSWER_SECONDS)
            dataset(beside, download=True)
            raw = Path(beside) / dataset.__name__ / "raw"
            sums = [f"{hashlib.sha256((raw / n).read_bytes()).hexdigest()}  {n}\n" for n in SIZES]
            (raw / SUMS).write_text("".join(sums))
            target = root / dataset.__name__ / "raw"
            shutil.rmtree(target, ignore_errors=True)
            target.parent.mkdir(exist_ok=True)
            raw.rename(target)
    except (OSError, http.client.HTTPException, RuntimeError) as error:
        with suppress(OSError):
            for folder in missing:
                folder.rmdir()
        return " ".join(str(error).split())
    finally:
        socket.setdefaulttimeout(stall)
    return None


def _unreachable(urls: list[str]) -> str | None:
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
