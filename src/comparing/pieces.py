"""The pieces of a comparison, which one worker each carries out, and the folder that lists them.

Who makes the looks writes down what the looks wait for; workers take pieces that nobody holds, and
leave a report for each. A report tells only that it is worth looking: what was made is read from
its study or from its run's folder.
"""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from src.comparing.claims import Claims
from src.comparing.conduct import Job, at_once, train, train_all
from src.comparing.ledger import Ledger
from src.comparing.protocol import Plan
from src.comparing.record import Run, Search
from src.comparing.searching import Meanwhile, Searches
from src.errors import InputError
from src.files import write_whole
from src.results import digest

FOLDER = ".work"  # in the folder of the comparison
LIST = "list.json"
ERROR = "error"
Result = Search | Run


@dataclass(frozen=True)
class Piece:
    """A search, or a run on a fresh seed.

    Args:
        problem: the folder of the comparison, within that of one over several problems.
        method: that is searched; empty for a run.
        number: of the search.
        job: of the run; None for a search.
    """

    problem: str
    method: str = ""
    number: int = 0
    job: Job | None = None

    @property
    def what(self) -> str:
        return self.job.folder_name if self.job else f"search {self.number} of {self.method}"

    @cached_property
    def values(self) -> dict[str, Any]:
        """What `of` makes it from; a list of a hundred is written again after each of them."""
        return asdict(self)

    @cached_property
    def name(self) -> str:
        """Names the piece by all that makes it, the winner's settings of a run included."""
        return digest(self.values)[:20]

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "Piece":
        job = values["job"]
        return cls(**{**values, "job": Job(**job) if job else None})


class Silent(Ledger):
    """A worker's: who makes the looks notes what was made when it reads that."""

    def note(self, event: str, detail: str) -> None:
        pass


class Problem:
    """A comparison on one problem, as far as its pieces go.

    Args:
        plan: of it.
        folder: of it.
        ledger: gets a line for each piece that is made or read.
        meanwhile: called again and again while a search is under way.
        where: says which hosts make something, after a search has ended.
    """

    def __init__(
        self,
        plan: Plan,
        folder: Path,
        ledger: Ledger,
        meanwhile: Meanwhile = lambda: None,
        where: Callable[[], str] = lambda: "",
    ) -> None:
        self.plan, self.folder, self.ledger = plan, folder, ledger
        self.searches = Searches(plan, folder, ledger, meanwhile, where)

    def claim_of(self, piece: Piece) -> str:
        """What who makes a piece must hold; another comparison may want the same search."""
        if piece.job is None:
            return f"search {self.plan.study(piece.method, piece.number)}"
        return f"run {self.folder / piece.job.folder_name}"

    def carry_out(self, piece: Piece) -> Result:
        """Make a piece, or read what was made of it.

        Raises:
            InputError: a search ended with an error, or a file can't be written.
        """
        try:
            if piece.job is None:
                return self.searches.search(piece.method, piece.number)
            return train(self.plan, piece.job, self.folder, self.ledger)
        except OSError as error:
            raise cannot_go_on(error, self.folder) from error

    @cached_property
    def at_once(self) -> int:
        """How many runs may train at once, >= 1."""
        return at_once(self.plan)

    def several(self, pieces: list[Piece]) -> Iterator[Result]:
        """Make a search, or runs, some at once; yield each in its turn.

        Raises:
            InputError: the next one ended with an error, or a file can't be written.
        """
        jobs = [piece.job for piece in pieces if piece.job]
        if not jobs:
            yield self.carry_out(pieces[0])
            return
        try:
            yield from train_all(self.plan, jobs, self.folder, self.ledger)
        except OSError as error:
            raise cannot_go_on(error, self.folder) from error


def cannot_go_on(error: OSError, folder: Path) -> InputError:
    """The error of a disk that is full, say, in one line."""
    reason = f"{error.filename or folder}: {error.strerror or error}"
    return InputError(f"{reason}; the same command goes on")


@lru_cache(maxsize=1)  # it is read again and again, and seldom another
def _read_list(text: str) -> tuple[str | None, list[Piece] | None]:
    """The token of a list, and its pieces."""
    listed = json.loads(text)
    pieces = listed.get("pieces")
    return listed.get("token"), None if pieces is None else [Piece.of(values) for values in pieces]


class Board:
    """The list of the pieces that are wanted, and the reports on those that were made.

    Args:
        root: the folder of the comparison; it holds those of its problems.
        claims: hold a token that the list must hold, so that a host which sees another folder
            says so.
    """

    def __init__(self, root: Path, claims: Claims) -> None:
        self.folder, self.claims, self.changed = root / FOLDER, claims, 0

    @cached_property
    def token(self) -> str:
        return self.claims.token(str(self.folder))

    def clear(self) -> None:
        """Forget the reports of an earlier command."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for name in self.reported():
            (self.folder / f"{name}.json").unlink()

    def publish(self, pieces: Iterable[Piece] | None) -> None:
        """Say what is wanted now; None if nothing will be any more."""
        listed = None if pieces is None else [piece.values for piece in pieces]
        text = json.dumps({"token": self.token, "pieces": listed})
        write_whole(self.folder / LIST, text.encode())

    def wanted(self) -> list[Piece] | None:
        """The pieces that are wanted and not reported; None if the comparison has ended.

        Raises:
            InputError: this host doesn't see the comparison's folder.
        """
        try:
            token, pieces = _read_list((self.folder / LIST).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            token = None
        if token != self.token:
            raise InputError(
                f"{self.folder / LIST}: host {os.uname().nodename} doesn't see the folder in which "
                "the comparison began; put it on a file system that all hosts share "
                "(FAIRSTEP_OUTPUTS=DIR)"
            )
        if pieces is None:
            return None
        reported = self.reported()
        return [piece for piece in pieces if piece.name not in reported]

    def reported(self) -> set[str]:
        files = {name for name in os.listdir(self.folder) if name.endswith(".json")} - {LIST}
        return {name.removesuffix(".json") for name in files}

    def is_reported(self, piece: Piece) -> bool:
        return (self.folder / f"{piece.name}.json").exists()

    def beat(self) -> None:
        """Let workers know that somebody will ask for more, though nothing is wanted now."""
        (self.folder / LIST).touch()

    def has_changed(self) -> bool:
        """Whether there was a sign of the submitter since the last call."""
        before, self.changed = self.changed, (self.folder / LIST).stat().st_mtime_ns
        return before != self.changed

    def report(self, piece: Piece, error: str | None = None) -> None:
        """Say that a piece was made, or why it couldn't be."""
        write_whole(self.folder / f"{piece.name}.json", json.dumps({ERROR: error}).encode())

    def error(self, piece: Piece) -> str | None:
        text = (self.folder / f"{piece.name}.json").read_text(encoding="utf-8")
        error = json.loads(text)[ERROR]
        return None if error is None else str(error)
