"""`src.report` and `src.replay` of comparisons: unfinished, several together, trained again."""

import json
from pathlib import Path

import pytest

from src import replay, report
from src.comparing.record import read
from src.errors import InputError
from tests.reporting import made_up


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("src.reporting.report.save", lambda figures, folder: None)  # slow


def test_an_unfinished_comparison_says_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    facts, runs = made_up.comparison(("a", "b"), seeds=3, trials=4)
    facts |= {"missing": ["the look at 20 seeds"], "awaited": ["x", "y", "z"]}
    folder = made_up.write(tmp_path, facts, runs)
    (folder / "runs" / "y").mkdir(parents=True)
    (folder / "runs" / "y" / "result.json").write_text("{}")
    page = report.report([folder], None).read_text()
    for told in (capsys.readouterr().out, page):
        assert "the look at 20 seeds" in told
        assert "2 of the 3 runs of that look" in told
    assert read(folder).missing == ["the look at 20 seeds"]


def test_a_comparison_of_which_nothing_is_there_yet(tmp_path: Path) -> None:
    facts, _ = made_up.comparison(("a", "b"), seeds=3, trials=4)
    nothing = {**facts, "searches": [], "table": [], "pairs": [], "missing": ["the searches"]}
    page = report.report([made_up.write(tmp_path, nothing, [])], None).read_text()
    assert "still missing is the searches" in page


def test_several_comparisons_on_one_page(tmp_path: Path) -> None:
    """... if their protocols agree, and not beside a run."""
    folders = []
    for name, methods in (("one", ("a", "b")), ("two", ("c", "b"))):
        facts, runs = made_up.comparison(methods, seeds=6, trials=4)
        folders.append(made_up.write(tmp_path / name, {**facts, "name": name}, runs))
    page = report.report(folders, tmp_path / "out")
    assert page == tmp_path / "out" / "report.html"
    assert "one + two" in page.read_text()
    facts, runs = made_up.comparison(("c", "d"), seeds=6, trials=4)
    facts["protocol"]["epochs"] = 3
    other = made_up.write(tmp_path / "other", facts, runs)
    with pytest.raises(InputError, match="can't be drawn together: epochs was 2, is 3"):
        report.report([folders[0], other], tmp_path / "out")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").touch()
    with pytest.raises(InputError, match="a run, which shares no page with a comparison"):
        report.report([folders[0], tmp_path / "run"], tmp_path / "out")


@pytest.mark.parametrize("same", [True, False])
def test_a_sample_of_a_comparison_is_trained_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], same: bool
) -> None:
    """Different runs, each into a folder of its own; a single one that differs is told."""
    for name in "abcde":
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "result.json").write_text(json.dumps({}))
    seen: list[tuple[Path, Path]] = []

    def again(folder: Path, into: Path, data_root: str | None) -> bool:
        seen.append((folder, into))
        return same or len(seen) > 1

    monkeypatch.setattr(replay, "replay", again)
    assert replay.replay_comparison(tmp_path, 3, tmp_path / "new", None) is same
    assert len({*seen}) == 3
    assert all(into == tmp_path / "new" / folder.name for folder, into in seen)
    found = 3 if same else 2
    assert f"{found} of 3 runs, drawn from 5, came out the same" in capsys.readouterr().out
    with pytest.raises(InputError, match="--sample=0"):
        replay.replay_comparison(tmp_path, 0)
