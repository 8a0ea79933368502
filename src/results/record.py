"""A run's folder: config.yaml, provenance.json, metrics.jsonl and result.json."""

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any, TextIO

from filelock import FileLock, Timeout

from src.errors import InputError
from src.files import flush, inside, write_whole

LOCK = ".lock"  # held by the process that works in a folder
FILES = ("config.yaml", "provenance.json", "metrics.jsonl", "result.json", "checkpoints")


def claim(folder: Path, *, exact: bool, name: str = "hydra.run.dir") -> Path:
    """Make a folder for this run alone.

    Args:
        folder: the wanted one.
        exact: refuse a folder in use, rather than try `folder-2`, `folder-3`, ...
        name: of the setting, for messages.

    Raises:
        InputError: the folder can't be made, or holds something already.
    """
    for number in count(1):
        path = folder if number == 1 else folder.with_name(f"{folder.name}-{number}")
        try:
            path.mkdir(parents=True, exist_ok=exact)
            if any(path.iterdir()):
                raise FileExistsError
            (path / LOCK).touch(exist_ok=False)  # of two processes at once, one succeeds
            return path
        except FileExistsError as error:
            if exact:
                state = "is not empty" if path.is_dir() else "is no folder"
                raise InputError(f"{name}={path}: it exists and {state}") from error
        except OSError as error:
            raise InputError(f"{name}={path}: {error.strerror}") from error
    raise AssertionError("unreachable")


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep other processes out of the folder; the system ends the claim of a dead process.

    Raises:
        InputError: another process works there already.
    """
    lock = FileLock(folder / LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise InputError(f"{folder}: another process is working there") from error
    except OSError as error:
        raise InputError(f"{folder}: {error.strerror}") from error
    try:
        yield
    finally:
        lock.release()


def is_held(lock: Path) -> bool:
    """Whether a process works in the folder of a lock."""
    held = FileLock(lock, timeout=0)
    try:
        held.acquire()
    except Timeout:
        return True
    except OSError:  # nobody can write here
        return False
    held.release()
    return False


def refuse_used(folder: Path) -> None:
    """Refuse a new run in a folder that holds one.

    Raises:
        InputError: the folder holds a run.
    """
    if used := [name for name in FILES if (folder / name).exists()]:
        raise InputError(f"{folder}: it holds a run ({used[0]}); a new one needs another folder")


ENCODERS = {  # by the indent; to make one takes as long as to encode a row
    indent: json.JSONEncoder(indent=indent, ensure_ascii=False, allow_nan=False)
    for indent in (None, 2)
}


class Record:
    """Writes a run's files; a whole file is written under another name and then renamed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rows: list[dict[str, Any]] = []
        self.lines: TextIO | None = None  # metrics.jsonl, while rows come

    def config(self, text: str) -> None:
        """Write the resolved config, YAML."""
        write_whole(self.folder / "config.yaml", text.encode())

    def provenance(self, facts: Mapping[str, Any]) -> None:
        write_whole(self.folder / "provenance.json", _json(facts, indent=2).encode() + b"\n")

    def row(self, row: Mapping[str, Any]) -> None:
        """Append an evaluation."""
        self.rows.append(dict(row))
        path = self.folder / "metrics.jsonl"
        try:
            self.lines = self.lines or open(path, "a", encoding="utf-8")  # noqa: SIM115
            self.lines.write(_json(row) + "\n")
            self.lines.flush()
        except OSError as error:
            error.filename = str(path)  # a failed write names none
            raise

    def close(self) -> None:
        """Let go of the file of rows."""
        lines, self.lines = self.lines, None
        with suppress(OSError):  # a row that can't be written has raised it before
            if lines is not None:
                lines.close()

    def settle(self) -> None:
        """Read the rows back: an interrupt may have come before the file had the last one."""
        self.close()
        self.rows = _numbers(read_rows(self.folder))

    def flush(self) -> None:
        """Wait until the disk has the rows, as a checkpoint that counts on them needs."""
        flush(self.folder / "metrics.jsonl")

    def result(self, result: Mapping[str, Any]) -> None:
        write_whole(self.folder / "result.json", _json(result, indent=2).encode() + b"\n")

    def patch(self, content: bytes, name: str = "provenance.patch") -> None:
        """Write the diff from the commit."""
        if content:
            write_whole(self.folder / name, content)

    def take_up(self, count: int) -> None:
        """Go on from the first `count` rows; the run makes the later rows again.

        The result of a run that had ended is removed.

        Raises:
            InputError: there are fewer rows, or the file is damaged; nothing was changed.
        """
        try:
            rows = read_rows(self.folder)[:count]
        except ValueError as error:
            raise InputError(f"{self.folder}: metrics.jsonl: {error}") from error
        if len(rows) < count:
            raise InputError(f"{self.folder}: metrics.jsonl holds {len(rows)} rows of {count}")
        self.rows = _numbers(rows)
        (self.folder / "result.json").unlink(missing_ok=True)
        text = "".join(_json(row) + "\n" for row in rows)
        write_whole(self.folder / "metrics.jsonl", text.encode(), flush=True)


def read_rows(folder: Path) -> list[dict[str, Any]]:
    """The rows of a run's metrics.jsonl, without a last line that was cut short."""
    path = inside(folder, "metrics.jsonl")
    lines = path.read_text(encoding="utf-8").split("\n")[:-1] if path.is_file() else []
    rows = [json.loads(line) for line in lines]
    if not all(isinstance(row, dict) for row in rows):
        raise ValueError(f"{path} holds a line that is no row")
    return rows


def digest(value: Any) -> str:
    """SHA-256 of a value's canonical JSON."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _json(value: Any, indent: int | None = None) -> str:
    encoder = ENCODERS[indent]
    try:
        return encoder.encode(value)
    except (TypeError, ValueError):  # few values hold a number that JSON lacks
        return encoder.encode(_finite(value))


def _numbers(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [{key: _number(value) for key, value in row.items()} for row in rows]


def _number(value: Any) -> Any:
    """NaN for the null that `_finite` wrote."""
    return math.nan if value is None else value


def _finite(value: Any) -> Any:
    """Replace NaN and infinity, which JSON lacks, by null."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
