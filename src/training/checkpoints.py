"""Checkpoints: the last two, each whole, each with its SHA-256."""

import hashlib
import io
import pickle
import sys
from pathlib import Path
from typing import Any

import torch

from src.errors import InputError
from src.files import inside, write_whole

KEPT = 2


class Checkpoints:
    """A run's checkpoints, `step-N.pt` with `step-N.pt.sha256` beside each.

    Args:
        folder: of the run; they lie in its `checkpoints/`.
    """

    def __init__(self, folder: Path) -> None:
        self.run, self.folder = folder, folder / "checkpoints"

    def save(self, step: int, state: dict[str, Any]) -> None:
        """Write one and remove all but the last two.

        Raises:
            InputError: the disk is full, say; the checkpoints before are untouched.
        """
        buffer = io.BytesIO()
        torch.save(state, buffer)
        content = buffer.getvalue()
        place = self.folder / f"step-{step:09d}.pt"
        try:
            self.folder.mkdir(exist_ok=True)
            # First, so that no checkpoint is ever without it.
            text = f"{hashlib.sha256(content).hexdigest()}  {place.name}\n"
            write_whole(_sum_of(place), text.encode(), flush=True)
            write_whole(place, content, flush=True)
        except OSError as error:
            kept = ", ".join(path.name for path in self._places()) or "none"
            reason = f"{place}: {error.strerror}; checkpoints that are good: {kept}"
            raise InputError(reason) from error
        for old in self._places()[KEPT:]:
            old.unlink()
            _sum_of(old).unlink(missing_ok=True)

    def _places(self) -> list[Path]:
        """The checkpoints, newest first."""
        return sorted(self.folder.glob("step-*.pt"), reverse=True)

    def load(self) -> dict[str, Any] | None:
        """The newest undamaged checkpoint; None if none was ever written.

        A damaged one is named on standard error.

        Raises:
            InputError: every one is damaged.
        """
        places = self._places()
        for place in places:
            try:
                return self._read(place)
            except (OSError, ValueError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
                reason = " ".join(str(error).split())[:200]
                print(f"damaged checkpoint {place}: {reason}", file=sys.stderr)
        if places:
            raise InputError(f"{self.folder}: every checkpoint is damaged; nothing was changed")
        return None

    def _read(self, place: Path) -> dict[str, Any]:
        content = inside(self.run, str(place.relative_to(self.run))).read_bytes()
        expected = inside(self.run, str(_sum_of(place).relative_to(self.run))).read_text()
        found = hashlib.sha256(content).hexdigest()
        if expected.split()[:1] != [found]:
            raise ValueError(f"its SHA-256 is {found}")
        # Never a pickle that could run code, whoever it is from.
        state = torch.load(io.BytesIO(content), weights_only=True)
        if not isinstance(state, dict):
            raise ValueError("not a checkpoint")
        return state


def _sum_of(place: Path) -> Path:
    return place.with_name(f"{place.name}.sha256")
