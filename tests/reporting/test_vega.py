"""Vega's scripts, which every page holds."""

import subprocess
from io import BytesIO
from pathlib import Path

import pytest

from src.reporting import vega


@pytest.fixture(autouse=True)
def nothing_was_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("src.config.OUTPUTS", tmp_path)
    monkeypatch.setattr(vega, "_BEGUN", [])


def test_scripts_are_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next process reads them; without a place for them they are made again."""
    made = vega.scripts.__wrapped__()
    with monkeypatch.context() as patched:
        patched.setattr("vl_convert.javascript_bundle", lambda _: pytest.fail("made again"))
        assert vega.scripts.__wrapped__() == made
    monkeypatch.setattr("vl_convert.javascript_bundle", lambda _: "other</script>")
    (tmp_path / "file").touch()
    monkeypatch.setattr("src.config.OUTPUTS", tmp_path / "file")
    assert vega.scripts.__wrapped__() == r"other<\/script>"


def test_another_process_makes_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever wants them waits for it; where they are there nobody is started."""
    vega.scripts.cache_clear()
    vega.begin()
    vega.begin()
    [(process, _)] = vega._BEGUN
    monkeypatch.setattr("vl_convert.javascript_bundle", lambda _: pytest.fail("made here"))
    assert not [*tmp_path.iterdir()], "a command that is wrong leaves nothing"
    assert "vegaEmbed" in vega.scripts() and process.poll() == 0
    vega._BEGUN.clear()
    vega.begin()
    assert not vega._BEGUN, "this process has read them"
    vega.scripts.cache_clear()
    vega.begin()
    assert not vega._BEGUN, "the file is there"
    assert "vegaEmbed" in vega.scripts()


def test_a_process_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vl_convert.javascript_bundle", lambda _: "made here")
    vega._BEGUN.append((subprocess.Popen(["true"]), BytesIO(b"half")))
    assert vega.scripts.__wrapped__() == "made here"


def test_where_nothing_can_be_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page still has its scripts."""

    def popen(*_: object, **__: object) -> None:
        raise BlockingIOError("too many")

    monkeypatch.setattr(vega.subprocess, "Popen", popen)
    vega.scripts.cache_clear()
    vega.begin()
    assert not vega._BEGUN and "vegaEmbed" in vega.scripts()
