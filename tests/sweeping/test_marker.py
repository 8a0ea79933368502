"""The study's marker, by which a worker knows that it sees the study's folder."""

import json
from pathlib import Path

import pytest

from src.errors import InputError
from src.sweeping.marker import FILE, check_marker
from tests.sweeping.conftest import (  # noqa: F401, fixtures
    open_study,
    postgres_url,
    running_server,
)


def test_a_host_that_does_not_see_the_folder(
    postgres_url: str,  # noqa: F811
    tmp_path: Path,
) -> None:
    """It is refused in a line that says what to do; the study's own workers are not."""
    study, folder = open_study(postgres_url), tmp_path / "shared"
    check_marker(study, folder)
    marker = json.loads((folder / FILE).read_text())
    assert marker["study"] == study.name
    check_marker(open_study(postgres_url), folder)
    told = rf"/elsewhere/{FILE}: host \S+ doesn't see the folder in which study test began; put it"
    with pytest.raises(InputError, match=told):
        check_marker(study, tmp_path / "elsewhere")
    assert not (tmp_path / "elsewhere").exists()
    (folder / FILE).write_text(json.dumps({**marker, "marker": "another study's"}))
    with pytest.raises(InputError, match="choose another study=NAME"):
        check_marker(study, folder)


def test_one_machine_may_make_its_folder_anew(url: str, tmp_path: Path) -> None:
    """A folder that was moved away, beside a database that is a file."""
    study = open_study(url)
    check_marker(study, tmp_path / "a")
    check_marker(study, tmp_path / "b")
    texts = {(tmp_path / name / FILE).read_text() for name in ("a", "b")}
    assert len(texts) == 1, "it is the same study"
    (tmp_path / "a" / FILE).write_text("no json")
    check_marker(study, tmp_path / "a")
    assert {(tmp_path / "a" / FILE).read_text()} == texts
