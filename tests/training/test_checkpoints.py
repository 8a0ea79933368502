"""Checkpoints: whole whenever the process is killed, never a damaged one, never code."""

import hashlib
import os
import pickle
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import torch

from src.errors import InputError
from src.files import write_whole
from src.training.checkpoints import Checkpoints, _reason
from tests.killing import ended, fork

WATCHED = ("src/training/checkpoints.py", "src/files.py")


def state(step: int) -> dict[str, Any]:
    return {"step": step, "model": {"weight": torch.full((50,), float(step))}}


def saved(folder: Path, *steps: int) -> Checkpoints:
    checkpoints = Checkpoints(folder)
    for step in steps:
        checkpoints.save(step, state(step))
    return checkpoints


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "checkpoints").iterdir())


def loaded(checkpoints: Checkpoints) -> int:
    """The step of what was loaded, whole."""
    kept = checkpoints.load()
    assert kept is not None
    assert torch.equal(kept["model"]["weight"], state(kept["step"])["model"]["weight"])
    return int(kept["step"])


def at_line(number: int, action: Callable[[], None]) -> Callable[..., Any]:
    """A tracer that acts before the given line that the writing code executes."""
    lines = 0

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal lines
        if not frame.f_code.co_filename.endswith(WATCHED):
            return None
        if event == "line":
            lines += 1
            if lines == number:
                action()
        return trace

    return trace


def save_and_die(folder: Path, number: int) -> Callable[[], None]:
    def action() -> None:
        checkpoints, content = Checkpoints(folder), state(3)
        sys.settrace(at_line(number, lambda: os.kill(os.getpid(), signal.SIGKILL)))
        checkpoints.save(3, content)

    return action


def test_the_last_two_are_kept_each_with_its_digest(tmp_path: Path) -> None:
    checkpoints = saved(tmp_path, 5, 40, 300)
    kept = ["step-000000040.pt", "step-000000300.pt"]
    assert names(tmp_path) == sorted([*kept, *(f"{name}.sha256" for name in kept)])
    for name in kept:
        content = (tmp_path / "checkpoints" / name).read_bytes()
        line = (tmp_path / "checkpoints" / f"{name}.sha256").read_text()
        assert line == f"{hashlib.sha256(content).hexdigest()}  {name}\n"  # as sha256sum -c reads
    assert loaded(checkpoints) == 300


def test_none_yet(tmp_path: Path) -> None:
    assert Checkpoints(tmp_path).load() is None
    assert list(tmp_path.iterdir()) == []


def test_killed_before_each_line_of_writing(tmp_path: Path) -> None:
    """Before, between and after write, flush and rename, of the checkpoint and of its digest."""
    found, number = [], 0
    while True:
        number += 1
        folder = tmp_path / str(number)
        folder.mkdir()
        saved(folder, 1, 2)
        status = ended(fork(save_and_die(folder, number), tmp_path / "log"))
        assert status in (0, -signal.SIGKILL), (tmp_path / "log").read_text()
        found.append(loaded(Checkpoints(folder)))
        saved(folder, 4)  # which clears up
        assert loaded(Checkpoints(folder)) == 4
        assert len(names(folder)) == 4
        assert not [name for name in names(folder) if name.startswith(".")]
        if status == 0:
            break
    assert number > 35
    first = found.index(3)
    assert found == [2] * first + [3] * (len(found) - first)
    assert 10 < first < number - 5


def test_interrupted_at_each_line_of_writing(tmp_path: Path) -> None:
    """The exception that Ctrl-C raises leaves no half file either."""
    for number in range(1, 500):
        folder = tmp_path / str(number)
        folder.mkdir()
        checkpoints = saved(folder, 1, 2)

        def interrupt() -> None:
            raise KeyboardInterrupt

        tracing = sys.gettrace()  # that of `make coverage`
        sys.settrace(at_line(number, interrupt))
        try:
            checkpoints.save(3, state(3))
            break
        except KeyboardInterrupt:
            assert loaded(Checkpoints(folder)) in (2, 3)
        finally:
            sys.settrace(tracing)
    assert number > 35


@pytest.mark.parametrize("limit", [0, 70, 500])
def test_a_full_disk(tmp_path: Path, limit: int) -> None:
    checkpoints = saved(tmp_path, 1, 2)
    before = {name: (tmp_path / "checkpoints" / name).read_bytes() for name in names(tmp_path)}

    def fill() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        try:
            checkpoints.save(3, state(3))
        except OSError as error:
            assert "step-000000003.pt" in str(error.filename)
            os._exit(7)

    assert ended(fork(fill, tmp_path / "log")) == 7
    assert loaded(checkpoints) == 2
    left = {name: (tmp_path / "checkpoints" / name).read_bytes() for name in names(tmp_path)}
    assert {name: left[name] for name in before} == before
    assert left.keys() - before.keys() <= {"step-000000003.pt.sha256"}


def truncated(content: bytes) -> bytes:
    return content[: len(content) // 2]


def flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def emptied(content: bytes) -> bytes:
    return b""


DAMAGES = [truncated, flipped, emptied]


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("suffix", [".pt", ".pt.sha256"])
def test_a_damaged_one_is_named_and_the_one_before_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: Any, suffix: str
) -> None:
    checkpoints = saved(tmp_path, 1, 2)
    newest = tmp_path / "checkpoints" / f"step-000000002{suffix}"
    newest.write_bytes(damage(newest.read_bytes()))
    assert loaded(checkpoints) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"damaged checkpoint {tmp_path / 'checkpoints' / 'step-000000002.pt'}: ")
    for step in (3, 4):  # the run goes on; a damaged one must not take the place of a good one
        checkpoints.save(step, state(step))
        kept = [place.name for place in checkpoints.paths()]
        assert kept == [f"step-{step:09d}.pt", f"step-{3 if step == 4 else 1:09d}.pt"]


def test_one_of_a_later_step_goes_with_the_next(tmp_path: Path) -> None:
    checkpoints = saved(tmp_path, 10, 20)
    (tmp_path / "checkpoints" / "step-000000020.pt").write_bytes(b"")
    assert loaded(checkpoints) == 10
    saved(tmp_path, 15)  # by another process, which has not seen the damage
    assert [name for name in names(tmp_path) if name.endswith(".pt")] == [
        "step-000000010.pt",
        "step-000000015.pt",
    ]


@pytest.mark.parametrize("damage", DAMAGES)
def test_all_damaged(tmp_path: Path, damage: Any) -> None:
    checkpoints = saved(tmp_path, 1, 2)
    for place in checkpoints.paths():
        place.write_bytes(damage(place.read_bytes()))
    before = {name: (tmp_path / "checkpoints" / name).read_bytes() for name in names(tmp_path)}
    with pytest.raises(InputError, match="every checkpoint is damaged; nothing was changed"):
        checkpoints.load()
    assert before == {name: (checkpoints.folder / name).read_bytes() for name in names(tmp_path)}


class Malicious:
    """Runs a command when it is unpickled."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.witness}",)


@pytest.mark.parametrize("write", ["pickle", "torch", "legacy"])
def test_a_malicious_pickle_is_refused(tmp_path: Path, write: str) -> None:
    """With a digest that fits, as somebody who means harm would write it."""
    witness, place = tmp_path / "witness", tmp_path / "checkpoints" / "step-000000001.pt"
    place.parent.mkdir()
    if write == "pickle":
        place.write_bytes(pickle.dumps(Malicious(witness)))
    else:
        zipped = write == "torch"
        bad = {"model": Malicious(witness)}
        torch.save(bad, place, _use_new_zipfile_serialization=zipped)
    digest = hashlib.sha256(place.read_bytes()).hexdigest()
    place.with_name(f"{place.name}.sha256").write_text(f"{digest}  {place.name}\n")
    with pytest.raises(InputError, match="every checkpoint is unreadable"):
        Checkpoints(tmp_path).load()
    assert not witness.exists()
    if write != "pickle":  # it does harm where it is trusted
        torch.load(place, weights_only=False)
        assert witness.exists()


def test_a_checkpoint_without_its_digest_or_of_something_else(tmp_path: Path) -> None:
    """The one before it counts; where there is none, the line says what is wrong."""
    checkpoints = saved(tmp_path, 1, 2)
    newest = tmp_path / "checkpoints" / "step-000000002.pt"
    newest.with_name(f"{newest.name}.sha256").unlink()
    assert loaded(checkpoints) == 1
    torch.save([1, 2], newest)  # whole, and no run's
    digest = hashlib.sha256(newest.read_bytes()).hexdigest()
    newest.with_name(f"{newest.name}.sha256").write_text(f"{digest}  {newest.name}\n")
    assert loaded(checkpoints) == 1
    for name in ("step-000000001.pt", "step-000000001.pt.sha256"):
        (tmp_path / "checkpoints" / name).unlink()
    with pytest.raises(InputError, match="every checkpoint is unreadable; nothing was changed"):
        checkpoints.load()


def test_both_files_are_on_the_disk_and_the_digest_is_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[tuple[str, bool]] = []

    def write(place: Path, content: bytes, *, flush: bool = False) -> None:
        written.append((place.name, flush))
        write_whole(place, content)

    monkeypatch.setattr("src.training.checkpoints.write_whole", write)
    saved(tmp_path, 7)
    assert written == [("step-000000007.pt.sha256", True), ("step-000000007.pt", True)]


def test_one_that_is_written_anew_counts_again(tmp_path: Path) -> None:
    checkpoints = saved(tmp_path, 1, 2)
    (tmp_path / "checkpoints" / "step-000000002.pt").write_bytes(b"damaged")
    assert loaded(checkpoints) == 1
    checkpoints.save(2, state(2))
    checkpoints.save(3, state(3))
    assert [name for name in names(tmp_path) if name.endswith("pt")] == [
        "step-000000002.pt",
        "step-000000003.pt",
    ]


def test_why_a_checkpoint_cannot_be_read() -> None:
    told = "Weights only load failed. Unsupported\nglobal: GLOBAL os.system was not allowed"
    assert _reason(RuntimeError(told)) == "it holds os.system, which isn't loaded from a checkpoint"
    assert _reason(EOFError()) == "EOFError"
    assert _reason(ValueError("a\n b" * 100)) == ("a b" * 100)[:200]
