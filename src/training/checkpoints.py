"""Checkpoints: the last two, each whole, each with its SHA-256."""

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
        """Write one and remove all but the last two.

        Raises:
            OSError: the disk is full, say; the checkpoints before are untouched.
        """
        buffer = io.BytesIO()
        torch.save(state, buffer)
        content = buffer.getvalue()
        place = self.folder / f"step-{step:09d}.pt"
        self.folder.mkdir(exist_ok=True)
        # First, so that no checkpoint is ever without it.
        text = f"{hashlib.sha256(content).hexdigest()}  {place.name}\n"
        write_whole(_sum_of(place), text.encode(), flush=True)
        write_whole(place, content, flush=True)
        self.unusable.discard(place)
        self._tidy(place)

    def _tidy(self, newest: Path) -> None:
        """Remove older ones, those of steps to come, unusable ones, what a killed process left."""
        good = [place for place in self.places() if place not in self.unusable]
        kept = [place for place in good if place <= newest][:KEPT]
        names = {one.name for place in kept for one in (place, _sum_of(place))}
        for pattern in ("step-*", ".step-*"):
            for path in self.folder.glob(pattern):
                if path.name not in names:
                    path.unlink()

    def places(self) -> list[Path]:
        """The checkpoints, newest first."""
        return sorted(self.folder.glob("step-*.pt"), reverse=True)

    def load(self) -> dict[str, Any] | None:
        """The newest that can be read; None if none was ever written.

        One that can't be is named on standard error.

        Raises:
            InputError: none can be.
        """
        places, reasons = self.places(), set()
        for place in places:
            try:
                return _read(place)
            except UnusableError as error:
                self.unusable.add(place)
                reasons.add(error.kind)
                print(f"{error.kind} checkpoint {place}: {error}", file=sys.stderr)
        if places:
            kinds = " or ".join(sorted(reasons))
            raise InputError(f"{self.folder}: every checkpoint is {kinds}; nothing was changed")
        return None


class UnusableError(ValueError):
    """A checkpoint that is `damaged`, or `unreadable`: whole, but not what a run writes."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


def _read(place: Path) -> dict[str, Any]:
    try:
        content = place.read_bytes()
        found, expected = hashlib.sha256(content).hexdigest(), _sum_of(place).read_text().split()
    except (OSError, ValueError) as error:
        raise UnusableError("damaged", str(error)) from error
    if expected[:1] != [found]:
        raise UnusableError("damaged", f"its SHA-256 is {found}, not that of {_sum_of(place).name}")
    # Never a pickle that could run code, whoever it is from. To the CPU: the machine that goes on
    # may lack the device.
    try:
        with warnings.catch_warnings(action="ignore"):  # the error that follows says it better
            state = torch.load(io.BytesIO(content), weights_only=True, map_location="cpu")
    except Exception as error:  # torch raises what it likes at bytes that it can't read
        raise UnusableError("unreadable", _reason(error)) from error
    if not isinstance(state, dict):
        raise UnusableError("unreadable", "it holds no state of a run")
    return state


def _reason(error: Exception) -> str:
    """What torch refuses to load, by its name, without torch's advice to trust it."""
    text = " ".join(str(error).split())
    if refused := re.search(r"GLOBAL (\S+)", text):
        return f"it holds {refused[1]}, which isn't loaded from a checkpoint"
    return text[:200] or type(error).__name__


def _sum_of(place: Path) -> Path:
    return place.with_name(f"{place.name}.sha256")
