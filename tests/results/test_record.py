"""A run's folder and files."""

import contextlib
import errno
import hashlib
import json
import math
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from src.errors import InputError
from src.results import LOCK, Record, alone, claim, digest, is_held, read_rows, refuse_used


def test_claims_at_the_same_moment_differ(tmp_path: Path) -> None:
    places: list[Path] = []
    gate = threading.Barrier(16)

    def take() -> None:
        gate.wait()
        places.append(claim(tmp_path / "runs" / "12-00-00", exact=False))

    threads = [threading.Thread(target=take) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({*places}) == 16
    assert all(place.is_dir() for place in places)


def test_an_exact_folder(tmp_path: Path) -> None:
    assert claim(tmp_path / "run", exact=True) == tmp_path / "run"
    with pytest.raises(InputError, match="exists and is not empty"):
        claim(tmp_path / "run", exact=True)  # whoever claimed it may not have written anything yet
    (tmp_path / "mine").mkdir()
    assert claim(tmp_path / "mine", exact=True) == tmp_path / "mine"  # empty: taken as it is
    (tmp_path / "run" / "result.json").touch()
    with pytest.raises(InputError, match="exists and is not empty"):
        claim(tmp_path / "run", exact=True)
    with pytest.raises(InputError, match="exists and is no folder"):
        claim(tmp_path / "run" / "result.json", exact=True)
    with pytest.raises(InputError, match="Not a directory"):
        claim(tmp_path / "run" / "result.json" / "run", exact=True)


def test_of_two_that_claim_an_empty_folder_at_once_one_gets_it(tmp_path: Path) -> None:
    gate, got = threading.Barrier(16), []

    def take() -> None:
        gate.wait()
        with contextlib.suppress(InputError):
            got.append(claim(tmp_path / "run", exact=True))

    (tmp_path / "run").mkdir()
    threads = [threading.Thread(target=take) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == [tmp_path / "run"]


def test_the_next_free_folder(tmp_path: Path) -> None:
    """It is numbered from 2 on, and claimed by its lock before anything is written."""
    (tmp_path / "runs" / "now-3").mkdir(parents=True)
    taken = [claim(tmp_path / "runs" / "now", exact=False).name for _ in range(3)]
    assert taken == ["now", "now-2", "now-4"]
    assert [path.name for path in (tmp_path / "runs" / "now-2").iterdir()] == [LOCK]
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"hydra\.sweep\.dir=.*: Not a directory"):
        claim(tmp_path / "file" / "x", exact=False, name="hydra.sweep.dir")


USED = ["config.yaml", "provenance.json", "metrics.jsonl", "result.json", "checkpoints"]


@pytest.mark.parametrize("name", USED)
def test_a_new_run_is_refused_where_one_is(tmp_path: Path, name: str) -> None:
    refuse_used(tmp_path)
    (tmp_path / ".hydra").mkdir()
    refuse_used(tmp_path)
    (tmp_path / name).mkdir()
    with pytest.raises(InputError, match=f"holds a run \\({name}\\)"):
        refuse_used(tmp_path)


def test_an_empty_folder_that_is_read_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "touch", fails)  # a test may run as root
    with pytest.raises(InputError, match=r"hydra\.run\.dir=.*: Permission denied"):
        claim(tmp_path, exact=True)


def test_files(tmp_path: Path) -> None:
    record = Record(tmp_path)
    record.config("seed: 0  # ü\n")
    record.provenance({"git": None, "threads": 2, "x": [math.nan]})
    record.row({"step": 1, "val_loss": 0.1})
    record.row({"step": 2, "val_loss": math.nan, "train_loss": math.inf})
    record.result({"status": "diverged", "objective": {"value": math.inf}, "all": [-math.inf]})
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert lines[0] == {"step": 1, "val_loss": 0.1}
    assert lines[1] == {"step": 2, "val_loss": None, "train_loss": None}
    for name in ("result.json", "provenance.json"):  # for people, too
        assert (tmp_path / name).read_text().startswith('{\n  "')
    kept = json.loads((tmp_path / "result.json").read_text())
    assert kept == {"status": "diverged", "objective": {"value": None}, "all": [None]}
    assert (tmp_path / "config.yaml").read_text(encoding="utf-8") == "seed: 0  # ü\n"
    facts = json.loads((tmp_path / "provenance.json").read_text())
    assert facts == {"git": None, "threads": 2, "x": [None]}
    assert {path.name for path in tmp_path.iterdir()} == {
        "config.yaml",
        "provenance.json",
        "metrics.jsonl",
        "result.json",
    }


def test_a_file_is_whole_or_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = Record(tmp_path)
    record.result({"status": "completed"})

    def fails(*_: object, **__: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(Path, "replace", fails)
    with pytest.raises(OSError, match="disk full"):
        record.result({"status": "interrupted"})
    assert json.loads((tmp_path / "result.json").read_text()) == {"status": "completed"}
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]


def test_digest_is_of_the_value_not_its_order() -> None:
    assert digest({"a": 1, "b": [1.5]}) == digest({"b": [1.5], "a": 1})
    assert digest({"a": 1}) != digest({"a": 2})
    text = r'{"a":[1.5,null,true],"b":"\u00fc"}'
    value = {"b": "ü", "a": (1.5, None, True)}
    assert digest(value) == hashlib.sha256(text.encode()).hexdigest()


VALUES = st.one_of(st.floats(), st.integers(), st.text(max_size=5), st.none())
ROWS = st.lists(st.dictionaries(st.text(max_size=5), VALUES, max_size=3), max_size=5)


def finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(ROWS, st.integers(0, 6), st.integers(0, 20))
def test_rows_come_back(tmp_path: Path, rows: list[dict[str, Any]], count: int, cut: int) -> None:
    """To the last bit but for what JSON lacks; a row that was cut short never was."""
    (tmp_path / "metrics.jsonl").unlink(missing_ok=True)
    (tmp_path / "result.json").write_text("{}")
    assert read_rows(tmp_path) == []
    record = Record(tmp_path)
    for row in rows:
        record.row(row)
    expected = [{key: finite(value) for key, value in row.items()} for row in rows]
    with open(tmp_path / "metrics.jsonl", "a", encoding="utf-8") as file:
        file.write('{"step": 3, "x": "ü"}'[:cut])
    assert read_rows(tmp_path) == expected
    again, before = Record(tmp_path), (tmp_path / "metrics.jsonl").read_bytes()
    if count > len(rows):
        with pytest.raises(InputError, match=f"holds {len(rows)} rows of {count}"):
            again.take_up(count)
        assert (tmp_path / "metrics.jsonl").read_bytes() == before
        assert (tmp_path / "result.json").exists()
        return
    again.take_up(count)
    assert not (tmp_path / "result.json").exists()
    assert read_rows(tmp_path) == expected[:count]
    numbers = [{k: math.nan if v is None else v for k, v in row.items()} for row in expected]
    assert repr(again.rows) == repr(numbers[:count])
    again.row({"step": 7})
    assert read_rows(tmp_path) == [*expected[:count], {"step": 7}]
    assert again.rows[-1] == {"step": 7}


@pytest.mark.parametrize("text", ["{\n", "1\n", "[]\n"])
def test_damaged_rows(tmp_path: Path, text: str) -> None:
    (tmp_path / "metrics.jsonl").write_text(text)
    with pytest.raises(InputError, match=r"metrics\.jsonl: "):
        Record(tmp_path).take_up(0)
    assert (tmp_path / "metrics.jsonl").read_text() == text


def test_an_interrupt_between_a_row_and_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a run came to is of the rows that are there."""
    record = Record(tmp_path)
    record.row({"step": 1, "val_loss": math.inf})

    def interrupted(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("src.results.record._json", interrupted)
        record.row({"step": 2, "val_loss": 0.5})
    record.settle()
    assert len(record.rows) == len(read_rows(tmp_path)) == 1
    assert record.rows[0]["step"] == 1 and not math.isfinite(record.rows[0]["val_loss"])


def test_rows_may_come_after_the_file_was_let_go(tmp_path: Path) -> None:
    record = Record(tmp_path)
    record.close()
    for step in (1, 2):
        record.row({"step": step})
        assert read_rows(tmp_path)[-1] == {"step": step}, "nothing waits to be written"
        record.close()
        assert record.lines is None
    record.row({"step": 3})
    record.settle()
    assert [row["step"] for row in record.rows] == [1, 2, 3] and record.lines is None


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is full")
def test_a_row_that_cannot_be_written(tmp_path: Path) -> None:
    """It names its file, and to let go of that raises nothing."""
    (tmp_path / "metrics.jsonl").symlink_to("/dev/full")
    record = Record(tmp_path)
    with pytest.raises(OSError, match="No space left") as error:
        record.row({"step": 1})
    assert error.value.filename == str(tmp_path / "metrics.jsonl")
    record.close()


def test_a_patch_is_only_written_where_something_differs(tmp_path: Path) -> None:
    Record(tmp_path).patch(b"")
    assert list(tmp_path.iterdir()) == []
    Record(tmp_path).patch(b"--- a", "provenance-3.patch")
    Record(tmp_path).patch(b"--- b")
    assert (tmp_path / "provenance-3.patch").read_bytes() == b"--- a"
    assert (tmp_path / "provenance.patch").read_bytes() == b"--- b"


def test_a_row_on_a_full_disk_names_the_file(tmp_path: Path) -> None:
    place = tmp_path / "metrics.jsonl"
    place.symlink_to("/dev/full")  # what every write to it says is real
    with pytest.raises(OSError, match="No space left") as error:
        Record(tmp_path).row({"step": 1})
    assert (error.value.errno, error.value.filename) == (errno.ENOSPC, str(place))


def test_a_folder_that_another_claims_in_the_same_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was empty when it was looked at, and isn't when the lock is to be made."""
    (tmp_path / LOCK).touch()
    monkeypatch.setattr(Path, "iterdir", lambda path: iter(()))
    with pytest.raises(InputError, match="exists and is not empty"):
        claim(tmp_path, exact=True)


def test_rows_are_flushed_when_a_checkpoint_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[Path] = []
    monkeypatch.setattr("src.results.record.flush", flushed.append)
    Record(tmp_path).flush()
    assert flushed == [tmp_path / "metrics.jsonl"]


def test_letters_stay_letters(tmp_path: Path) -> None:
    Record(tmp_path).provenance({"command": "größe"})
    assert "größe" in (tmp_path / "provenance.json").read_text(encoding="utf-8")


def test_what_is_gone_on_from_is_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[tuple[str, bool]] = []

    def write(place: Path, content: bytes, *, flush: bool = False) -> None:
        written.append((place.name, flush))

    monkeypatch.setattr("src.results.record.write_whole", write)
    Record(tmp_path).take_up(0)
    assert written == [("metrics.jsonl", True)]


def test_asking_for_a_lock_leaves_it_as_it_was(tmp_path: Path) -> None:
    lock = tmp_path / LOCK
    lock.touch()
    with alone(tmp_path):
        assert is_held(lock)
    assert not is_held(lock)
    with alone(tmp_path):  # it isn't kept
        pass
    assert not is_held(Path("/dev/null/x"))
