"""What a comparison did and when, evaluations on the test set included."""

import json
import os
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from src.comparing.record import Event


class Ledger:
    """Appends one line per event to the folder's `ledger.jsonl`; no line is ever rewritten."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "ledger.jsonl"

    def note(self, event: str, detail: str) -> None:
        """Append an event, but only once, however often a comparison goes on."""
        if any((line.event, line.detail) == (event, detail) for line in self.read()):
            return
        time = datetime.now().isoformat("T", "seconds")
        line = Event(time=time, event=event, detail=detail).model_dump()
        with open(self.path, "ab+") as file:
            torn = file.tell() > 0 and _last_byte(file) != b"\n"
            file.write(b"\n" * torn + json.dumps(line).encode() + b"\n")

    def read(self) -> list[Event]:
        """Every event, without a line that a full disk or a power cut has torn."""
        if not self.path.is_file():
            return []
        events = []
        for line in self.path.read_text(encoding="utf-8", errors="replace").splitlines():
            with suppress(ValueError):
                events.append(Event.model_validate_json(line))
        return events


def _last_byte(file: BinaryIO) -> bytes:
    file.seek(-1, os.SEEK_END)
    return file.read(1)
