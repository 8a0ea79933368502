"""A comparison over several problems, from the command line's words to its folder."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from src import compare as entry
from src.comparing.problems import is_several, judged, lines, several
from src.comparing.record import read, write
from src.composing import register
from src.errors import InputError
from src.report import report
from tests.comparing.conftest import made_problem

TWO = ("problems=[wine,diabetes]",)


@pytest.fixture(autouse=True)
def composed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    register()


def made(plan: Any, folder: Path, guess: dict[str, float], name: str, *_: Any) -> Any:
    """Stands in for what trains."""
    yield from ()
    folder.mkdir(parents=True)
    values = {"sgd": [2.0, 2.1], "adam": [1.0, 1.1]}
    comparison = made_problem(values, name=plan.name, hash=plan.hash())
    write(comparison, folder)
    return comparison


def test_each_problem_has_its_own_metric(tmp_path: Path) -> None:
    """A problem's file names it; the plan says which; a given one is for all problems."""
    (tmp_path / "problem").mkdir()
    (tmp_path / "problem" / "counted.yaml").write_text(
        "# @package _global_\ndefaults:\n  - override /data: digits\n"
        "objective: {metric: val_accuracy, direction: maximize}\n"
    )
    asked = [f"hydra.searchpath=[file://{tmp_path}]", "methods=[sgd,adam]"]
    found = several([*asked, "problems=[wine,counted]"])
    assert found is not None
    metrics = {name: (plan.protocol.metric, plan.direction) for name, plan in found.plans.items()}
    assert metrics == {
        "wine": ("test_loss", "minimize"),
        "counted": ("test_accuracy", "maximize"),
    }
    _, problems, question, *_ = lines(found)
    assert problems == "problems: wine (test loss), counted (test accuracy); on each:"
    assert question == "Which of sgd and adam ends better, by each problem's own metric?"
    given = several([*asked, "problems=[wine,counted]", "protocol.metric=test_loss"])
    assert given is not None
    assert {plan.protocol.metric for plan in given.plans.values()} == {"test_loss"}
    assert [*lines(given)][2] == "Which of sgd and adam ends with the lower test loss?"


@pytest.mark.slow
def test_a_problem_after_another_each_with_the_same_budget(
    compared: Callable[..., Any], capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    """Really searched and trained; once more, nothing is."""
    found, folder = compared(*TWO)
    said = capsys.readouterr().out
    assert "8 trials and 16 runs on fresh seeds in all" in said.splitlines()[0]
    for name in ("wine", "diabetes"):
        alone = read(folder / name)
        assert alone.name == name
        assert f"src.data.{name}.load" in str(alone.protocol)
        assert {len(search.trials) for search in alone.searches} == {2}
    monkeypatch.setattr(entry, "_conduct", lambda *what: pytest.fail("trained again"))
    again, _ = compared(*TWO)
    assert again["pairs"] == found["pairs"]


def test_what_it_says_and_leaves(
    compared: Callable[..., Any], capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    monkeypatch.setattr(entry, "_check", lambda plan: None)
    monkeypatch.setattr(entry, "_conduct", made)
    found, folder = compared(*TWO)
    said = capsys.readouterr().out
    assert folder.name.startswith("sgd-adam-2-problems-")
    assert "2 methods on 2 problems" in said.splitlines()[0]
    assert "About other problems nothing will be said: it takes 6 problems" in said
    assert found["sentence"] in said
    assert [it["name"] for it in found["problems"]] == ["wine", "diabetes"]
    assert (folder / "wine" / "report.html").is_file()
    assert is_several(folder) and not is_several(folder / "wine")
    assert json.loads((folder / "overall.json").read_text())["sentence"] == found["sentence"]

    # Drawn again, from what is there.
    (folder / "diabetes" / "comparison.json").unlink()
    assert report([folder], None) == folder / "report.html"
    assert "diabetes isn&#39;t finished" in (folder / "report.html").read_text()

    # Other problems, or one alone, don't fall into the folder.
    own = f"protocol.name={folder.name}"
    with pytest.raises(InputError, match="holds a comparison over wine, diabetes; choose another"):
        compared("problems=[wine,digits]", own)
    (folder / "protocol.json").write_text("{}")
    with pytest.raises(InputError, match="holds a comparison on one problem"):
        compared(*TWO, own)


def test_it_goes_on_after_a_kill(compared: Callable[..., Any], monkeypatch: Any) -> None:
    begun: list[Path] = []

    def killed(plan: Any, folder: Path, guess: dict[str, float], name: str, *_: Any) -> Any:
        begun.append(folder)
        if len(begun) == 2:
            raise KeyboardInterrupt
        return (yield from made(plan, folder, guess, name))

    monkeypatch.setattr(entry, "_check", lambda plan: None)
    monkeypatch.setattr(entry, "_conduct", killed)
    with pytest.raises(KeyboardInterrupt):
        compared(*TWO, "protocol.name=killed")
    folder = begun[0].parent
    assert judged(folder).missing == ("diabetes",)
    found, _ = compared(*TWO, "protocol.name=killed")
    assert begun == [folder / "wine", folder / "diabetes", folder / "diabetes"]
    assert found["missing"] == ()

    # A comparison that still looks isn't finished either.
    looking = read(folder / "wine").model_copy(update={"missing": ["the look at 20 seeds"]})
    write(looking, folder / "wine")
    assert judged(folder).missing == ("wine",)


def test_a_problem_that_fails_does_not_keep_the_others_from_theirs(
    compared: Callable[..., Any], monkeypatch: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    def failing(plan: Any, folder: Path, guess: dict[str, float], name: str, *_: Any) -> Any:
        if folder.name == "wine":
            raise InputError("no winner")
        return (yield from made(plan, folder, guess, name))

    monkeypatch.setattr(entry, "_check", lambda plan: None)
    monkeypatch.setattr(entry, "_conduct", failing)
    with pytest.raises(InputError, match=r"wine: no winner\. The same command goes on"):
        compared(*TWO, "protocol.name=failing")
    said = capsys.readouterr()
    assert "not finished: no winner" in said.err
    assert "problem 2/2: diabetes" in said.out


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("problems=[wine]", "must be a list of two different problems or more; one is problem="),
        ("problems=[]", "must be a list of two different"),
        ("problems=[wine,wine]", "must be a list of two different"),
        ("problems=wine", "must be a list of two different"),
        ("problems=[wine,3]", "must be a list of two different"),
        ("problems=[wine,nope]", r"nope: no such file in problem/; there are .*, wine"),
        ("problems=[wine,diabetes] problem=wine", "give problem, or suite or problems, not both"),
        ("problems=[wine,diabetes] protocol.name=../x", "names a folder"),
        ("problems=[wine,diabetes] seed=3", "sets seed itself"),
    ],
)
def test_what_is_refused(line: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        several(["methods=[sgd,adam]", *line.split()])


def test_one_problem_is_a_comparison_as_before() -> None:
    assert several(["methods=[sgd,adam]", "problem=wine"]) is None
    assert several(["methods=[sgd,adam]"]) is None


def test_names_and_suites(tmp_path: Path) -> None:
    (tmp_path / "suite").mkdir()
    (tmp_path / "suite" / "mine.yaml").write_text("problems: [diabetes, wine]\n")
    there = f"hydra.searchpath=[file://{tmp_path}]"
    found = several(["methods=[sgd,adam]", "suite=mine", there])
    assert found is not None
    assert found.name == "sgd-adam-mine"
    assert [*found.plans] == ["diabetes", "wine"]
    assert [plan.job("sgd").data._target_ for plan in found.plans.values()] == [
        "src.data.diabetes.load", "src.data.wine.load",
    ]  # fmt: skip
    one = several(["methods=[sgd,adam]", "problems=[wine,diabetes]"])
    other = several(["methods=[sgd,adam]", "problems=[wine,digits]"])
    assert one is not None and other is not None
    assert one.name != other.name


def test_a_plan_is_printed_and_nothing_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(entry, "OUTPUTS", tmp_path)
    assert entry.compare(["methods=[sgd,adam]", *TWO, "dry_run=true", "protocol.seeds=3"]) is None
    said = capsys.readouterr().out
    assert "2 methods on 2 problems" in said
    assert "problems: wine, diabetes; on each:\nWhich of sgd and adam ends" in said
    assert not [*tmp_path.iterdir()]


def test_all_problems_are_left_to_one_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left: list[Path] = []
    monkeypatch.setattr(entry, "OUTPUTS", tmp_path)
    monkeypatch.setattr(
        "src.launching.detaching.detach", lambda folder, *_, **__: left.append(folder)
    )
    storage = f"hydra.sweeper.storage=sqlite:///{tmp_path}/studies.db"
    arguments = ["methods=[sgd,adam]", *TWO, "protocol.name=both", "detach=true", storage]
    assert entry.compare(arguments) is None
    assert left == [tmp_path / "comparisons" / "both"]
    assert not [*tmp_path.rglob("runs")]


def test_configs_are_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["compare", "methods=[sgd,adam]", *TWO, "--cfg", "job"])
    entry.main()
    said = capsys.readouterr().out
    assert said.startswith("wine:\n  methods:\n  - sgd\n  - adam\n")
    assert "\ndiabetes:\n" in said


def test_a_broken_list_of_problems_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "problems.json").write_text('{"problems": [3]}')
    with pytest.raises(InputError, match=r"problems\.json can't be read"):
        judged(tmp_path)
