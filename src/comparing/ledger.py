"""What a comparison did when, looks at the test set included."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any


class Ledger:
    """One line per event in the folder's `ledger.jsonl`, none ever rewritten."""

    def __init__(self, folder: Path) -> None:
        self.place = folder / "ledger.jsonl"

    def note(self, event: str, detail: str) -> None:
        """Keep an event; once, however often a comparison is taken up again."""
        if any((line["event"], line["detail"]) == (event, detail) for line in self.read()):
            return
        line = {"time": datetime.now().isoformat("T", "seconds"), "event": event, "detail": detail}
        with open(self.place, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def read(self) -> list[dict[str, Any]]:
        """Every event; a line is written at once, so none is torn."""
        if not self.place.is_file():
            return []
        return [json.loads(line) for line in self.place.read_text(encoding="utf-8").splitlines()]
