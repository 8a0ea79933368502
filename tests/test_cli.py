"""Errors on the command line."""

import os
import shlex
import signal
import subprocess
import sys
import time
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.cli import distance, one_line_errors
from src.config import PROJECT
from src.errors import InputError
from tests.helpers import Session


def test_input_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as leaving, one_line_errors():
        raise InputError("x=1: must be 2")
    assert leaving.value.code == 1
    assert capsys.readouterr().err == "error: x=1: must be 2\n"


def test_interrupt_before_the_run() -> None:
    with pytest.raises(SystemExit) as leaving, one_line_errors():
        raise KeyboardInterrupt
    assert leaving.value.code == 130


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_inside_a_finalizer_is_not_lost(number: int, status: int) -> None:
    """A database's library has finalizers that run often; Python drops what is raised there."""

    class Interrupted:
        def __del__(self) -> None:
            signal.raise_signal(number)

    with pytest.raises(SystemExit) as leaving, one_line_errors():
        Interrupted()
        began = time.monotonic()
        time.sleep(20)
        raise AssertionError("nothing was interrupted")
    assert leaving.value.code == status
    assert time.monotonic() - began < 10  # whatever it was waiting for


def test_other_errors_inside_a_finalizer_are_shown() -> None:
    class Broken:
        def __del__(self) -> None:
            raise ValueError("a bug in a finalizer")

    shown: list[object] = []
    hook, sys.unraisablehook = sys.unraisablehook, lambda lost: shown.append(lost.exc_type)
    try:
        with one_line_errors():
            Broken()
        assert shown == [ValueError]
        Broken()
        assert shown == [ValueError] * 2  # the hook of before is back
    finally:
        sys.unraisablehook = hook


def test_a_bug_keeps_its_traceback() -> None:
    with pytest.raises(ValueError, match="bug"), one_line_errors():
        raise ValueError("bug")
    with pytest.raises(ZeroDivisionError), one_line_errors():
        raise ZeroDivisionError


def test_the_environment_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    with one_line_errors():
        pass
    assert os.environ["HYDRA_FULL_ERROR"] == "0"


FORM = {  # what can't be read: why, and what is to be typed instead
    "data.root=/home/jürgen/x": ("'ü' needs quotes", 'data.root="/home/jürgen/x"'),
    "data.root=~/x": ("'~' needs quotes", 'data.root="~/x"'),
    "hydra.run.dir=a=b": ("mismatched input '='", 'hydra.run.dir="a=b"'),
    "model.hidden_sizes=[1,2": ("no viable alternative", 'model.hidden_sizes="[1,2"'),
    "data.root=x#y": ("'#' needs quotes", 'data.root="x#y"'),
    "optimizer.lr=1,,2": ("extraneous input ','", 'optimizer.lr="1,,2"'),
    "ключ=3": ("ключ is no key", None),
    "a b=3": ("a b is no key", None),
    "lr": ("lr: must be KEY=VALUE", None),
    "optimizer.lr=f(1)": ("Unknown function 'f'", None),
    "optimizer.lr=interval(a,b)": ("mismatch type argument start", None),
}


@pytest.mark.parametrize("line", FORM)
def test_what_the_grammar_cannot_read(session: Session, line: str) -> None:
    why, instead = FORM[line]
    answer = session.train(line)
    assert (answer.status, answer.out) == (2, "")
    (said,) = answer.err.splitlines()
    assert said.startswith(f"error: {line}: ") or said == f"error: {why}"
    assert why in said
    if instead is not None:
        (word,) = shlex.split(said.rpartition(": ")[2])
        assert word == instead
        again = session.train(word, "--cfg", "job")
        assert again.status == 0 or "hydra.run.dir" not in again.err


def test_letters_of_any_alphabet_in_a_quoted_path(session: Session) -> None:
    folder = session.folder / "Größe=ü [x] '1'"
    answer = session.train("trainer.epochs=1", "model=logreg", f'hydra.run.dir="{folder}"')
    assert answer.status == 0, answer.err
    assert answer.out.splitlines()[-1] == f"result: {folder}"
    assert (folder / "result.json").is_file()


NEAREST = {
    "optimizer=adma": "adam",
    "optimizer=admw": "adamw",
    "optimizer=momentun": "momentum",
    "optimizer=torch/admaw": "torch/adamw",
    "sweeps=torch/admaw": "torch/adamw",
    "data=minst": "mnist",
    "experimnt=tutorial": "experiment",
    "sweep=adam": "sweeps",
    "n_trial=3": "n_trials",
    "trainer.epoch=3": "epochs",
    "optimizer=xyz": None,
    "lr=0.1": None,
}


@pytest.mark.parametrize("line", NEAREST)
def test_the_nearest_name(session: Session, line: str) -> None:
    answer = session.train(line)
    name = NEAREST[line]
    assert answer.status == 1
    assert (f"; did you mean {name}?" in answer.err) if name else "did you mean" not in answer.err


def test_only_keys_that_the_command_has_are_named(session: Session) -> None:
    allowed = session.train("lr=0.1").err.partition("(allowed: ")[2].rstrip(")\n").split(", ")
    assert {"optimizer", "seed", "experiment", "sweeps", "n_trials"} <= {*allowed}
    assert not {"protocol", "methods", "hydra"} & {*allowed}
    for name in allowed:
        assert f"error: {name}: no such key" not in session.train(f"{name}=nothing").err


@cache
def edits(a: str, b: str) -> int:
    """The same distance from its recursive definition (optimal string alignment)."""
    if not a or not b:
        return len(a) + len(b)
    ways = [edits(a[1:], b) + 1, edits(a, b[1:]) + 1, edits(a[1:], b[1:]) + (a[0] != b[0])]
    if len(a) > 1 and len(b) > 1 and (a[0], a[1]) == (b[1], b[0]):
        ways.append(edits(a[2:], b[2:]) + 1)
    return min(ways)


@given(st.text("abc", max_size=6), st.text("abc", max_size=6))
def test_the_distance_of_two_names(a: str, b: str) -> None:
    assert distance(a, b) == edits(a, b) == distance(b, a)


@pytest.mark.parametrize("module", ["train", "compare", "replay", "report", "studies"])
def test_ctrl_c_while_imports_load(module: str) -> None:
    """The interpreter's own start apart, which no program can change."""
    watch = "import sys; sys.stderr.write('started\\n'); sys.stderr.flush()"
    code = f"import sys; sys.argv = ['-m']; import src; {watch}; import src.{module}, time; " \
        "time.sleep(60)"  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-c", code], stderr=subprocess.PIPE, text=True, restore_signals=True
    )
    assert process.stderr is not None
    assert process.stderr.readline() == "started\n"
    time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == -signal.SIGINT
    assert process.stderr.read() == ""


def test_ctrl_c_is_left_to_programs_that_use_the_package() -> None:
    code = "import signal, src; print(signal.getsignal(signal.SIGINT).__name__)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ran.stdout == "default_int_handler\n"


def test_a_command_that_imported_triton_ends_without_a_list_of_what_is_left() -> None:
    """As torchvision does. Its library complains on stderr of what isn't collected."""
    pytest.importorskip("triton")
    code = "import sys; sys.argv = ['-m']; import src; import triton._C.libtriton"
    ended = subprocess.run([sys.executable, "-c", code], check=True, cwd=PROJECT, text=True,
                           capture_output=True)  # fmt: skip
    assert ended.stderr == ""
