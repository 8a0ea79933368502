"""What a condition of a removal means, in numbers; and in which order things go."""

import json
import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from src import pruning
from src.pruning import Item
from src.sweeping import removal


@pytest.mark.parametrize(
    ("amount", "seconds"),
    [("1m", 60), ("1h", 3600), ("1d", 24 * 3600), ("1w", 7 * 24 * 3600), ("1.5h", 5400)],
)
def test_ages(amount: str, seconds: float) -> None:
    assert pruning._amount("older", amount, pruning.AGES) == seconds


@pytest.mark.parametrize(("amount", "size"), [("1kB", 1e3), ("2MB", 2e6), ("0.5GB", 5e8)])
def test_sizes(amount: str, size: float) -> None:
    """And in words: one unit begins where it can be written with a number of at least 1."""
    assert pruning._amount("larger", amount, pruning.SIZES) == size


@pytest.mark.parametrize(
    ("size", "words"),
    [(0, "0 kB"), (999, "0.999 kB"), (1000, "1 kB"), (999_999, "1e+03 kB"), (1_000_000, "1 MB"),
     (1_500_000_000, "1.5 GB"), (123_456_789, "123 MB")],
)  # fmt: skip
def test_a_size_in_words(size: float, words: str) -> None:
    assert pruning._size(size) == words


def item(root: Path, kind: str, name: str, size: int = 1000, age: float = 10_000.0) -> Item:
    folder = root / name
    folder.mkdir(exist_ok=True)
    return Item(kind, name, folder, size, time.time() - age)


def test_larger_is_larger(tmp_path: Path) -> None:
    one = item(tmp_path, "run", "a", size=1000)
    assert not pruning._condition("larger=1kB")(one)
    assert pruning._condition("larger=0.999kB")(one)
    assert pruning._condition("older=2h")(one) and not pruning._condition("older=3h")(one)


def test_what_is_whole_is_told_by_its_last_file(tmp_path: Path) -> None:
    """Of the others the time tells it: ten minutes without a file."""
    last = {"run": "result.json", "replay": "result.json", "multirun": "multirun.csv",
            "comparison": "report.html"}  # fmt: skip
    for kind in pruning.KINDS:
        soon = "written less than 10 minutes ago"
        one = item(tmp_path, kind, kind, age=590.0)
        assert pruning.in_use(one) == soon
        assert pruning.in_use(item(tmp_path, kind, kind, age=610.0)) is None
        for other in {*last.values()} - {last.get(kind)}:
            (one.folder / other).touch()
        assert pruning.in_use(one) == soon
        if kind in last:
            (one.folder / last[kind]).touch()
            assert pruning.in_use(one) is None


def test_a_comparison_goes_before_its_studies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It must not stay behind without them when its own removal fails."""
    kept = {item(tmp_path, kind, name): None for kind, name in
            (("study", "s"), ("run", "r"), ("comparison", "c"))}  # fmt: skip
    gone = list[str]()
    monkeypatch.setattr(pruning, "choose", lambda root, wanted: kept)
    monkeypatch.setattr(pruning, "_removed", lambda one, root: gone.append(one.name) or True)
    pruning.prune(tmp_path, ["kind=run"], yes=True)
    assert gone[0] == "c" and len(gone) == 3
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "removed 3 folders, 3 kB" and lines[-2] == "3 folders of 3 can go, 3 kB"
    assert [line.split()[0] for line in lines[1:4]] == ["study", "run", "comparison"]
    assert lines[1].startswith("study       s     "), "words stand at the left"


def test_which_studies_a_comparison_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the name that its trials tell, else by its folder's; or one of its trials lies in it."""
    one = item(tmp_path, "study", "folder-name")
    assert pruning._is_needed(one, {"folder-name"}) and pruning._is_needed(one, {str(one.folder)})
    assert not pruning._is_needed(one, {"told"})
    (one.folder / "trial-0").mkdir()
    (one.folder / "trial-0" / "trial.json").write_text(
        json.dumps({"storage": "sqlite:///x.db", "study": "told"})
    )
    assert pruning._is_needed(one, {"told"}) and not pruning._is_needed(one, {"folder-name"})
    run = item(tmp_path, "run", "r")
    assert pruning._is_needed(run, {str(run.folder)}) and not pruning._is_needed(run, {"r"})
    comparison = tmp_path / "four"
    comparison.mkdir()
    (comparison / "by-log.log").touch()
    search = SimpleNamespace(study="by-record", trials=[SimpleNamespace(folder="/x/s/trial-1"),
                                                        SimpleNamespace(folder=None)])  # fmt: skip
    record: Any = SimpleNamespace(searches=[search], runs=[SimpleNamespace(folder="/y/runs/a")])
    monkeypatch.setattr(pruning, "read", lambda folder: record)
    assert pruning.needed(comparison) == {
        "by-log", "by-record", "/x/s/trial-1", "/x/s", "/x", "/", "/y/runs/a", "/y/runs", "/y",
    }  # fmt: skip


def test_what_a_killed_removal_left_goes_as_far_as_it_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is left by others and can't be removed keeps nobody from removing his own."""
    left = tmp_path / ".removed-1"
    left.mkdir()
    real, told = pruning.shutil.rmtree, list[Path]()

    def rmtree(folder: Path, ignore_errors: bool = False) -> None:
        told.append(folder)
        if folder == left:
            if not ignore_errors:
                raise PermissionError("not ours")
            return
        real(folder)

    monkeypatch.setattr(pruning.shutil, "rmtree", rmtree)
    one = item(tmp_path, "run", "a")
    pruning.remove(one)
    assert not one.folder.exists() and told == [left, tmp_path / f".removed-{os.getpid()}"]


class Trials:
    """A study whose running trials have these owners; of one number the lease has run out."""

    def __init__(self, *owners: Any, silent: int = -1, folders: Any = ()) -> None:
        self._study_id, self._storage = 0, removal.BaseHeartbeat
        self.trials = [
            SimpleNamespace(user_attrs={"owner": owner} if owner else {}, _trial_id=number)
            for number, owner in enumerate(owners)
        ] + [SimpleNamespace(user_attrs={"folder": str(each)}) for each in folders]

    def get_trials(self, deepcopy: bool = True, states: Any = None) -> Any:
        return self.trials


@pytest.mark.parametrize(
    ("owners", "silent", "expected"),
    [
        ([], [], False),
        ([None], [], False),
        (["alive"], [], True),
        (["dead"], [], False),
        (["alive"], [0], False),
        (["dead", "alive"], [0], True),
        (["dead", "alive"], [1], False),
        ([None, "dead", "alive"], [], True),
    ],
)
def test_a_study_is_under_way_while_somebody_alive_gives_signs(
    monkeypatch: pytest.MonkeyPatch, owners: list[Any], silent: list[int], expected: bool
) -> None:
    monkeypatch.setattr(removal.db, "is_dead", lambda owner: owner == "dead")
    monkeypatch.setattr(removal, "BaseHeartbeat", SimpleNamespace)
    study: Any = Trials(*owners)
    study._storage = SimpleNamespace(_get_stale_trial_ids=lambda number: silent)
    assert removal._is_under_way(study) is expected


@pytest.mark.parametrize(
    ("folders", "lies"),
    [(["/s/trial-0", "/s/trial-1"], True), (["/s/trial-0", "/t/trial-1"], False), (["/s"], True),
     ([], True), (["/sx/trial-0"], False)],
)  # fmt: skip
def test_whose_records_lie_in_the_folder(folders: list[str], lies: bool) -> None:
    study: Any = Trials(None, folders=folders)
    assert removal._lies_in(study, Path("/s")) is lies


def test_who_asks_about_a_study_changes_nothing(tmp_path: Path) -> None:
    """Without trials, or with those of a file that is gone: nothing is under way, or made."""
    assert removal.is_under_way(tmp_path) is False
    (tmp_path / "trial-0").mkdir()
    place = tmp_path / "none.db"
    (tmp_path / "trial-0" / "trial.json").write_text(
        json.dumps({"storage": f"sqlite:///{place}", "study": "s"})
    )
    assert removal.is_under_way(tmp_path) is False and not place.exists()
    assert removal._exists("postgresql://me@host/db")
