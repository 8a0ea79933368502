"""Values and commands as they are printed: Hydra and a shell read them back as they were meant."""

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import example, given
from hypothesis import strategies as st

from src.overrides import again, command, literal, override, search_path

NUMBERS = st.integers() | st.floats(allow_nan=False)
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"))
KEYS = st.from_regex(r"[a-z_][a-z0-9 =:,()\[\]{}-]*[a-z]", fullmatch=True)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=6,
)


def read(line: str) -> Any:
    return OverridesParser.create().parse_override(line).value()


def same(one: Any, other: Any) -> bool:
    """Equal, and of the same type all the way down."""
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and one == other


@given(VALUES)
@example("null")
@example("1e-3")
@example(".5")
@example("a=b, 'c' \"d\" [e] {f: g} \\ $(h)")
@example("ends with \\")
@example("")
@example([None, "null", True, "true", 1, 1.0, "1", 1e-5, float("-inf")])
@example({"a b": [{"c": "d,e"}]})
def test_hydra_reads_back_what_was_written(value: Any) -> None:
    assert same(read(override("x", value)), value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (1e-05, "1e-05"),
        ("torch/adam", "torch/adam"),
        ("/data/mnist-1", "/data/mnist-1"),
        ("NULL", '"NULL"'),
        ("a=b", '"a=b"'),
        ("7", '"7"'),
        ([50, 50], "[50,50]"),
        ([], "[]"),
        ({"a": None}, "{a:null}"),
    ],
)
def test_plain_values_have_no_quotes(value: Any, text: str) -> None:
    assert literal(value) == text


@given(st.lists(TEXTS, max_size=3))
def test_a_shell_reads_back_the_words(words: list[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["train.py"])
        patch.delenv("FAIRSTEP_OUTPUTS", raising=False)
        assert shlex.split(command(*words)) == ["python", "-m", "src.train", *words]


def test_the_folder_of_all_outputs_goes_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["train.py"])
    monkeypatch.setenv("FAIRSTEP_OUTPUTS", "/scratch/a b")
    assert command("x=1") == "FAIRSTEP_OUTPUTS='/scratch/a b' python -m src.train x=1"
    monkeypatch.setenv("FAIRSTEP_OUTPUTS", "")
    assert command("x=1") == "python -m src.train x=1"


SCRIPT = """
import sys
sys.path.insert(0, {project!r})
from src.overrides import again, command, search_path
print(command("x=1"))
print(command("x=1", module="src.studies"))
print(again())
print(search_path())
"""


def test_a_script_of_ones_own_is_named(tmp_path: Path) -> None:
    """It may allow classes that src.train doesn't."""
    place = tmp_path / "my methods" / "train.py"
    place.parent.mkdir()
    place.write_text(SCRIPT.format(project=str(Path(__file__).parents[1])))
    words = [sys.executable, "my methods/train.py", "-cd", "my conf", "-m", "a=1,2"]
    environment = {k: v for k, v in os.environ.items() if k != "FAIRSTEP_OUTPUTS"}
    ran = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert ran.stdout.splitlines() == [
        "python 'my methods/train.py' x=1",
        "python -m src.studies x=1",
        "python 'my methods/train.py' -cd 'my conf' -m a=1,2",
        "['--config-dir', 'my conf']",
    ], ran.stderr


@pytest.mark.parametrize(("name", "module"), [("train", "src.train"), ("compare", "src.compare")])
def test_the_command_that_was_typed(
    monkeypatch: pytest.MonkeyPatch, name: str, module: str
) -> None:
    import src

    monkeypatch.delenv("FAIRSTEP_OUTPUTS", raising=False)
    entry = Path(src.__file__ or "").parent / f"{name}.py"
    monkeypatch.setattr(sys, "argv", [str(entry), "-m", "x=a b", "--config-name=c"])
    assert again() == f"python -m {module} -m 'x=a b' --config-name=c"
    assert search_path() == ["--config-name", "c"]
