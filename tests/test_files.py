"""Files that are whole or not there."""

import errno
import os
from pathlib import Path

import pytest

from src import files


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """What the disk was waited for: each file's name and size; a folder has the size 0 here."""
    found: list[tuple[str, int]] = []

    def sync(number: int) -> None:
        place = Path(os.readlink(f"/proc/self/fd/{number}"))
        found.append((str(place), 0 if place.is_dir() else os.fstat(number).st_size))

    monkeypatch.setattr(os, "fsync", sync)
    return found


@pytest.mark.parametrize("flush", [False, True])
def test_a_file_is_replaced_by_the_whole_of_another(
    tmp_path: Path, synced: list[tuple[str, int]], flush: bool
) -> None:
    """A link that lies where it is written first is not followed; the disk is waited for."""
    place, other = tmp_path / "x.json", tmp_path / "other"
    place.write_bytes(b"old, and longer")
    other.write_bytes(b"mine")
    beside = tmp_path / f".x.json.{os.getpid()}"
    beside.symlink_to(other)
    opened = os.listdir("/proc/self/fd")
    files.write_whole(place, b"new", **({"flush": True} if flush else {}))
    assert os.listdir("/proc/self/fd") == opened
    assert (place.read_bytes(), other.read_bytes()) == (b"new", b"mine")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "x.json"]
    # All of the file, before it has its name.
    assert synced == ([(str(beside), 3), (str(tmp_path), 0)] if flush else [])


def test_a_failure_names_the_place_and_leaves_it(tmp_path: Path) -> None:
    (tmp_path / "x" / "y").mkdir(parents=True)
    with pytest.raises(OSError, match="x'") as error:
        files.write_whole(tmp_path / "x", b"new")
    assert error.value.filename == str(tmp_path / "x")
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
    with pytest.raises(FileNotFoundError) as missing:
        files.write_whole(tmp_path / "nowhere" / "x", b"new")
    assert missing.value.filename == str(tmp_path / "nowhere" / "x")


def test_flush_waits_for_the_file(tmp_path: Path, synced: list[tuple[str, int]]) -> None:
    (tmp_path / "x").write_bytes(b"12345")
    files.flush(tmp_path / "x")
    assert synced == [(str(tmp_path / "x"), 5)]


def test_whether_a_folder_can_be_written(tmp_path: Path) -> None:
    """One that isn't there yet, too; nothing is left of the trial."""
    files.check_writable(tmp_path)
    files.check_writable(tmp_path / "a" / "b")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    for place in (tmp_path / "file", tmp_path / "file" / "a", Path("/proc/a/b")):
        with pytest.raises(OSError):
            files.check_writable(place)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_what_a_full_disk_said(number: int) -> None:
    full = OSError(number, "full")
    middle, outer = ValueError(), RuntimeError()
    middle.__cause__, outer.__cause__ = full, middle
    assert files.full_disk(full) is files.full_disk(outer) is full
    assert files.full_disk(OSError(errno.EACCES, "no")) is None
    assert files.full_disk(None) is files.full_disk(ValueError()) is None


def test_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert files.no_room(tmp_path) is files.no_room(tmp_path, 10**6) is None
    assert list(tmp_path.iterdir()) == []
    assert files.no_room(tmp_path / "nowhere") is None  # that is another mistake
    tried: list[tuple[bool, int]] = []

    def full(number: int) -> None:
        there = os.readlink(f"/proc/self/fd/{number}").startswith(f"{tmp_path}/")
        tried.append((there, os.fstat(number).st_size))
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "fsync", full)
    error = files.no_room(tmp_path, 1000)
    assert error is not None
    assert (error.errno, error.filename) == (errno.ENOSPC, str(tmp_path))
    assert tried == [(True, 1000 + 65536)]


def test_a_name_that_leads_out(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "out").symlink_to("../run-2")
    (folder / "in").symlink_to("x")
    assert files.inside(folder, "x") == folder / "x"
    assert files.inside(folder, "in") == folder / "in"
    for name in ("../run-2", "out", "/etc/passwd", "a/../../x"):
        with pytest.raises(ValueError, match="leads out of"):
            files.inside(folder, name)
