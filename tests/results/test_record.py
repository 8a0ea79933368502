"""A run's folder and files."""

import contextlib
import json
import math
import threading
from pathlib import Path

import pytest

from src.errors import InputError
from src.results import Record, claim, digest, refuse_used


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


@pytest.mark.parametrize("name", ["config.yaml", "metrics.jsonl", "result.json", "checkpoints"])
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
