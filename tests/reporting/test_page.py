"""What a page is made of."""

from pathlib import Path

import pytest

from src.reporting import page


def test_scripts_are_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next process reads them; without a place for them they are made again."""
    monkeypatch.setattr("src.config.OUTPUTS", tmp_path)
    made = page._vega.__wrapped__()
    with monkeypatch.context() as patched:
        patched.setattr("vl_convert.javascript_bundle", lambda _: pytest.fail("made again"))
        assert page._vega.__wrapped__() == made
    monkeypatch.setattr("vl_convert.javascript_bundle", lambda _: "other</script>")
    (tmp_path / "file").touch()
    monkeypatch.setattr("src.config.OUTPUTS", tmp_path / "file")
    assert page._vega.__wrapped__() == r"other<\/script>"
