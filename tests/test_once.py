"""Texts of configs are parsed once."""

from io import StringIO
from pathlib import Path

import omegaconf
import pytest
from omegaconf import OmegaConf
from yaml import YAMLError

from src import once


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts that are parsed from now on, by `read_texts_once` anew."""
    texts, real = list[str](), OmegaConf.load

    def load(file, **limits):  # type: ignore[no-untyped-def]
        texts.append(str(limits or file))
        return real(file, **limits)

    monkeypatch.setattr(OmegaConf, "load", load)
    for module in (omegaconf._utils, omegaconf.base, omegaconf.grammar_parser):
        monkeypatch.setattr(module, "parse", module.parse)  # type: ignore[attr-defined]
    once.read_texts_once.__wrapped__()
    return texts


def test_a_text_is_parsed_once(parsed: list[str]) -> None:
    """Who gets it may change it, and the next gets what the text says."""
    first = OmegaConf.load(StringIO("a: [1, 2]\nb: ${a}"))
    first.a.append(3)
    assert OmegaConf.load(StringIO("a: [1, 2]\nb: ${a}")) == {"a": [1, 2], "b": [1, 2]}
    assert len(parsed) == 1
    assert OmegaConf.load(StringIO("a: 2")) == {"a": 2} and len(parsed) == 2


def test_what_is_wrong_is_told_each_time(parsed: list[str]) -> None:
    for _ in range(2):
        with pytest.raises(YAMLError):
            OmegaConf.load(StringIO("a: [1"))


def test_what_else_counts_beside_the_text(
    parsed: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A path, or a limit, is for OmegaConf itself."""
    (tmp_path / "a.yaml").write_text("a: 1")
    for _ in range(2):
        assert OmegaConf.load(tmp_path / "a.yaml") == {"a": 1}
    assert len(parsed) == 2
    monkeypatch.setenv(once.LIMIT, "1000")
    for _ in range(2):
        assert OmegaConf.load(StringIO("a: 3")) == {"a": 3}
    assert len(parsed) == 4
    monkeypatch.delenv(once.LIMIT)
    (stream := StringIO("x: 1\na: 2")).readline()
    assert OmegaConf.load(stream) == {"a": 2}, "what is left of a stream"
