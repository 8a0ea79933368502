"""A run's folder and files."""

import json
import math
import threading
from pathlib import Path

import pytest

from src.errors import InputError
from src.results import Record, claim, digest


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
    assert claim(tmp_path / "run", exact=True) == tmp_path / "run"  # empty: taken as it is
    (tmp_path / "run" / "result.json").touch()
    with pytest.raises(InputError, match="exists and is not empty"):
        claim(tmp_path / "run", exact=True)
    with pytest.raises(InputError, match="Not a directory"):
        claim(tmp_path / "run" / "result.json" / "run", exact=True)


def test_an_empty_folder_that_is_read_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    assert claim(tmp_path, exact=True) == tmp_path
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr("tempfile.mkdtemp", fails)  # a test may run as root
    with pytest.raises(InputError, match=r"hydra\.run\.dir=.*: Permission denied"):
        claim(tmp_path, exact=True)


def test_files(tmp_path: Path) -> None:
    record = Record(tmp_path)
    record.config("seed: 0\n")
    record.row({"step": 1, "val_loss": 0.1})
    record.row({"step": 2, "val_loss": math.nan, "train_loss": math.inf})
    record.result({"status": "diverged", "objective": {"value": math.inf}, "all": [-math.inf]})
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert lines[0] == {"step": 1, "val_loss": 0.1}
    assert lines[1] == {"step": 2, "val_loss": None, "train_loss": None}
    kept = json.loads((tmp_path / "result.json").read_text())
    assert kept == {"status": "diverged", "objective": {"value": None}, "all": [None]}
    assert {path.name for path in tmp_path.iterdir()} == {
        "config.yaml",
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
