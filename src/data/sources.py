"""Where data sets come from: scikit-learn's bundle, or torchvision's files on disk."""

import hashlib
import http.client
import shutil
import socket
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from src.errors import InputError

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


@dataclass(frozen=True)
class Raw:
    """Images scaled to [0, 1], float32 (n, height, width), class indices, int64 (n,)."""

    train_images: Tensor
    train_targets: Tensor
    test_images: Tensor
    test_targets: Tensor
    sha256: str


def digits(root: str | None) -> Raw:
    """scikit-learn's 1,797 digits of 8x8 pixels from 0 to 16; a fixed fifth is the test set.

    Read from its file, of 64 pixels and a label in each row: to import the library takes longer
    than to train on them.
    """
    table = np.loadtxt(_of_sklearn("digits.csv.gz"), delimiter=",")
    pixels, labels = table[:, :-1].reshape(-1, 8, 8), table[:, -1].astype(np.int64)
    images, targets = torch.from_numpy(pixels).float() / 16, torch.from_numpy(labels)
    order = torch.randperm(len(targets), generator=torch.Generator().manual_seed(0))
    test, train = order[: len(order) // 5], order[len(order) // 5 :]
    digest = hashlib.sha256(pixels.tobytes() + labels.tobytes()).hexdigest()
    return Raw(images[train], targets[train], images[test], targets[test], digest)


def _of_sklearn(name: str) -> Path:
    """A file that scikit-learn brings along."""
    spec = find_spec("sklearn")  # which doesn't import it
    folders = (spec.submodule_search_locations or []) if spec else []
    for folder in folders:
        if (path := Path(folder) / "datasets" / "data" / name).is_file():
            return path
    raise InputError(f"data.name=digits: scikit-learn has no {name}; install scikit-learn again")


def _torchvision(class_name: str) -> Callable[[str | None], Raw]:
    """A reader of one of torchvision's MNIST-like classes."""

    def read(root: str | None) -> Raw:
        import torchvision

        if root is None:
            raise InputError("data.root=null: the folder that holds the data set is needed")
        dataset = getattr(torchvision.datasets, class_name)
        folder = Path(root) / class_name / "raw"
        if not all((folder / name).is_file() for name in SIZES):
            _download(dataset, Path(root))
        digest = _verify(folder, class_name)
        train, test = dataset(root, train=True), dataset(root, train=False)
        return Raw(
            train.data.float() / 255, train.targets, test.data.float() / 255, test.targets, digest
        )

    return read


SOURCES: dict[str, Callable[[str | None], Raw]] = {
    "digits": digits,
    "mnist": _torchvision("MNIST"),
    "fashion_mnist": _torchvision("FashionMNIST"),
    "kmnist": _torchvision("KMNIST"),
}

EXTENTS = {  # the shape of an input and the number of classes, known before anything is read
    "digits": ((1, 8, 8), 10),
    "mnist": ((1, 28, 28), 10),
    "fashion_mnist": ((1, 28, 28), 10),
    "kmnist": ((1, 28, 28), 10),
}


def sizes(name: str) -> tuple[tuple[int, ...], int]:
    """The shape of an input, (channels, height, width), and the number of classes.

    Raises:
        InputError: an unknown name.
    """
    if name not in SOURCES:
        raise InputError(f"data.name={name}: must be one of {', '.join(SOURCES)}")
    return EXTENTS[name]


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
