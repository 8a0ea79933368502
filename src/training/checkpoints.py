"""The last two checkpoints of a run, each with its SHA-256."""

import hashlib
import io
import re
import sys
import warnings
from pathlib import Path
from typing import Any

import torch

from src.errors import InputError
from src.files import write_whole

KEPT = 2


class Checkpoints:
    """A run's checkpoints, `step-N.pt` with `step-N.pt.sha256` beside each.

    Only one process may work in the folder.

    Args:
        folder: of the run; they lie in its `checkpoints/`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "checkpoints"
        self.unusable: set[Path] = set()

    def save(self, step: int, state: dict[str, Any]) -> None:
        """Write a checkpoint and remove all but the last two.

        Raises:
            OSError: the disk is full, say; the earlier checkpoints are untouched.
        """
        buffer = io.BytesIO()
        torch.save(state, buffer)
        content = buffer.getvalue()
        path = self.folder / f"step-{step:09d}.pt"
        self.folder.mkdir(exist_ok=True)
        # The sum is written first, so that no checkpoint is ever without it.
        text = f"{hashlib.sha256(content).hexdigest()}  {path.name}\n"
        write_whole(_sum_of(path), text.encode(), flush=True)
        write_whole(path, content, flush=True)
        self.unusable.discard(path)
        self._tidy(path)

    def _tidy(self, newest: Path) -> None:
        """Remove older and later checkpoints, unusable ones and what a killed process left."""
        good = [path for path in self.paths() if path not in self.unusable]
        newest_good = [path for path in good if path <= newest][:KEPT]
        names = {file.name for path in newest_good for file in (path, _sum_of(path))}
        for pattern in ("step-*", ".step-*"):
            for entry in self.folder.glob(pattern):
                if entry.name not in names:
                    entry.unlink()

    def paths(self) -> list[Path]:
        """The checkpoints, newest first."""
        return sorted(self.folder.glob("step-*.pt"), reverse=True)

    def load(self) -> dict[str, Any] | None:
        """The newest checkpoint that can be read; None if none was ever written.

        Each that can't be read is named on standard error.

        Raises:
            InputError: there are checkpoints, and none can be read.
        """
        paths, reasons = self.paths(), set()
        for path in paths:
            try:
                return _read(path)
            except UnusableError as error:
                self.unusable.add(path)
                reasons.add(error.kind)
                print(f"{error.kind} checkpoint {path}: {error}", file=sys.stderr)
        if paths:
            kinds = " or ".join(sorted(reasons))
            raise InputError(f"{self.folder}: every checkpoint is {kinds}; nothing was changed")
        return None


class UnusableError(ValueError):
    """A checkpoint that is `damaged`, or `unreadable`: whole, but not what a run writes."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


def _read(path: Path) -> dict[str, Any]:
    try:
        content = path.read_bytes()
        digest, expected = hashlib.sha256(content).hexdigest(), _sum_of(path).read_text().split()
    except (OSError, ValueError) as error:
        raise UnusableError("damaged", str(error)) from error
    if expected[:1] != [digest]:
        raise UnusableError("damaged", f"its SHA-256 is {digest}, not that of {_sum_of(path).name}")
    # `weights_only`: a pickle could run code, and the file may come from anybody. "cpu": the
    # machine that goes on may lack the device.
    try:
        with warnings.catch_warnings(action="ignore"):  # the error says it better
            state = torch.load(io.BytesIO(content), weights_only=True, map_location="cpu")
    except Exception as error:  # torch may raise anything on bytes it can't read
        raise UnusableError("unreadable", _reason(error)) from error
    if not isinstance(state, dict):
        raise UnusableError("unreadable", "it holds no state of a run")
    return state


def _reason(error: Exception) -> str:
    """Name what torch refuses to load, without torch's advice to trust it."""
    text = " ".join(str(error).split())
    if refused := re.search(r"GLOBAL (\S+)", text):
        return f"it holds {refused[1]}, which isn't loaded from a checkpoint"
    return text[:200] or type(error).__name__


def _sum_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")
