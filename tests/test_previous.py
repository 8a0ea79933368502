"""Folders that the first release left are gone on with, repeated and reported; see `previous/`."""

import json
import shutil
import sys
from pathlib import Path

import pytest

from src import report, resume, studies
from tests.helpers import Session, result, timeless
from tests.test_replay import replay

PREVIOUS = Path(__file__).parent / "previous"
SMALL = ("model.hidden_sizes=[8]", "trainer.threads=1")
FINISHED = ("optimizer=adam", *SMALL, "trainer.evaluate_every=500", "trainer.epochs=3")
INTERRUPTED = (
    *("optimizer=momentum", "optimizer.lr=0.01", "scheduler=cosine", *SMALL),
    *("trainer.evaluate_every=1000", "trainer.epochs=12", "trainer.checkpoint_every=0"),
)


def copied(session: Session, name: str) -> Path:
    return Path(shutil.copytree(PREVIOUS / name, session.folder / name))


def trained(session: Session, *settings: str) -> Path:
    """The run that the same command makes now."""
    folder = session.folder / "now"
    answer = session.train(*settings, f"hydra.run.dir={folder}")
    assert answer.status == 0, answer
    return folder


def alike(before: Path, now: Path) -> bool:
    """Whether this processor gives the bits of the one that the folder was made on.

    If it doesn't, it gives the same but for roundings.
    """
    theirs, ours = timeless(before), timeless(now)
    for row, other in zip(theirs, ours, strict=False):
        assert row == pytest.approx(other, rel=1e-3, abs=0.01)
    return theirs == ours[: len(theirs)]


def test_an_interrupted_run_is_gone_on_with(session: Session) -> None:
    folder, now = copied(session, "interrupted"), trained(session, *INTERRUPTED)
    assert result(folder)["status"] == "interrupted"
    session.monkeypatch.setattr(sys, "argv", ["resume.py", str(folder)])
    assert len(timeless(folder)) == 8
    same = alike(folder, now)
    resume.main()
    assert result(folder)["status"] == "completed"
    assert len(timeless(folder)) == len(timeless(now)) == 24
    assert alike(folder, now) is same
    if same:
        assert result(folder)["weights_sha256"] == result(now)["weights_sha256"]


def test_a_finished_run_is_repeated(session: Session) -> None:
    folder, now = copied(session, "finished"), trained(session, *FINISHED)
    answer = replay(session, folder)
    (repeated,) = (session.folder / "outputs" / "replays").iterdir()
    digests = [result(each)["weights_sha256"] for each in (folder, repeated, now)]
    assert digests[1] == digests[2]
    if alike(folder, now):
        assert answer.status == 0, answer
        assert answer.out.splitlines()[-1] == "identical: 9 rows and the weights"
        assert digests[0] == digests[1]
    else:
        assert answer.status == 1 and "weights_sha256" in answer.out


def test_a_comparison_is_reported(
    session: Session, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copied(session, "comparison")
    monkeypatch.setattr("src.reporting.report.save", lambda figures, folder: None)  # slow
    monkeypatch.setattr(sys, "argv", ["report.py", str(folder)])
    report.main()
    sentence = json.loads((folder / "comparison.json").read_text())["sentence"]
    assert sentence.endswith("trained on 3 fresh seeds: adam is better than sgd.")
    assert sentence in capsys.readouterr().out.splitlines()
    assert sentence in (folder / "report.html").read_text()


def test_a_study_is_shown(
    session: Session, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, name = copied(session, "comparison"), "adam-digits-mlp-7a203381"
    monkeypatch.setattr("src.sweeping.show.OUTPUTS", session.folder)
    shown = ["studies.py", name, "--storage", f"sqlite:///{folder / 'studies.db'}"]
    monkeypatch.setattr(sys, "argv", shown)
    studies.main()
    said = capsys.readouterr().out.splitlines()
    assert f"page:      {session.folder / 'sweeps' / name / 'study.html'}" in said
    (trial,) = [line.split() for line in said if line.split()[:1] == ["0"]]
    assert trial[1:5] == ["2.1642", "0.001", "0.1", "0.001"]


@pytest.mark.parametrize("name", ["finished", "interrupted", "comparison"])
def test_they_are_small_and_say_nothing_of_a_machine(name: str) -> None:
    files = [path for path in (PREVIOUS / name).rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 100_000
    for path in files:
        for word in (b"/home/", b"/root/", b"/tmp/", b"/Users/"):
            assert word not in path.read_bytes(), path
