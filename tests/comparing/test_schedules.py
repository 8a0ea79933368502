"""Which schedule each method of a comparison has, who chose it, and where that is said."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from src.comparing import checks
from src.comparing.protocol import plan
from src.comparing.record import Comparison
from src.composing import register
from src.errors import InputError
from src.reporting.tables import print_verdict, schedules
from tests.comparing.conftest import made_search
from tests.comparing.test_protocol import own_files

BOTH = "methods=[adamw,schedule_free_adamw]"
SEARCHED = r"+hydra.sweeper.params.scheduler\.end_factor='interval(0.0,0.5)'"


@pytest.fixture(autouse=True)
def registered() -> None:
    register()


def kinds(made: Any) -> list[str]:
    return [made.job(name).scheduler._target_.rpartition(".")[2] for name in made.methods]


def test_a_method_keeps_the_schedule_that_its_file_chooses() -> None:
    made = plan([BOTH, "scheduler=cosine", "scheduler.end_factor=0.1", "scheduler.warmup_steps=7"])
    assert kinds(made) == ["Cosine", "Constant"]
    settings = made.settings()
    assert settings["method.adamw.scheduler.end_factor"] == 0.1
    assert settings["method.schedule_free_adamw.scheduler._target_"].endswith("Constant")
    for name in made.methods:  # each takes what its schedule has
        assert settings[f"method.{name}.scheduler.warmup_steps"] == 7
    assert not [key for key in settings if key.startswith("scheduler.")]
    assert [line for line in made.overrides["schedule_free_adamw"] if "scheduler" in line] == [
        "scheduler.warmup_steps=7"
    ]


def test_what_all_share_stands_once() -> None:
    settings = plan([BOTH]).settings()
    assert settings["scheduler._target_"].endswith("Constant")
    assert not [key for key in settings if key.startswith("method.") and "scheduler" in key]
    others = plan(["methods=[adamw,sgd]", "scheduler=cosine"]).settings()
    assert others["scheduler._target_"].endswith("Cosine")


def test_another_schedule_is_another_comparison_and_another_study() -> None:
    constant, cosine = plan([BOTH]), plan([BOTH, "scheduler=cosine"])
    assert constant.hash() != cosine.hash()
    assert constant.study("adamw", 0) != cosine.study("adamw", 0)
    for made in (constant, plan([BOTH, "scheduler=linear"])):  # which isn't its affair
        assert made.study("schedule_free_adamw", 0) == cosine.study("schedule_free_adamw", 0)
    beside = plan(["methods=[sgd,adamw]", "scheduler=cosine"])
    assert beside.study("adamw", 0) == cosine.study("adamw", 0)


@pytest.mark.parametrize("line", ["scheduler=cosine", "scheduler.end_factor=0.1", SEARCHED])
def test_a_schedule_that_no_method_takes(line: str) -> None:
    with pytest.raises(InputError, match="choose the schedule of each of schedule_free_adamw, sch"):
        plan(["methods=[schedule_free_adamw,schedule_free_sgd]", line])


def test_a_file_of_ones_own_that_builds_on_another(tmp_path: Path) -> None:
    where = own_files(tmp_path, "mine")
    file = tmp_path / "sweeps" / "mine.yaml"
    file.write_text(file.read_text().replace("/sweeps/sgd", "/sweeps/schedule_free_sgd"))
    assert kinds(plan(["methods=[mine,sgd]", where, "scheduler=step"])) == ["Constant", "Step"]


def test_a_schedule_that_was_searched_for_some_only() -> None:
    space = {"scheduler.end_factor": {"choices": [0.0, 0.5]}}
    tuned, plain, other = (
        made_search("a", space=space),
        made_search("b"),
        made_search("c", space={"optimizer.lr": {"choices": [0.1]}}),
    )
    (doubt,) = checks.unequal_schedules([tuned, plain, other, made_search("b", 1)])
    assert doubt.check == "schedule"
    assert doubt.text.startswith("the schedule was searched for a and not for b, c: ")
    assert checks.unequal_schedules([tuned, made_search("b", space=space)]) == []
    assert checks.unequal_schedules([plain, other]) == []
    assert doubt in checks.doubts([tuned, plain, other], [], {}, 0.5)


def record(protocol: dict[str, Any], space: dict[str, Any]) -> Comparison:
    searches = [made_search("a", space=space), made_search("b")]
    return Comparison(name="n", methods=["a", "b"], protocol=protocol, searches=searches)


def test_how_schedules_are_told() -> None:
    shared = {"scheduler._target_": "x.Step", "scheduler.gamma": 0.5}
    assert schedules(record(shared, {})) == "The schedule of all was Step (gamma=0.5)."
    own = {"method.a.scheduler._target_": "x.Cosine", "method.a.scheduler.end_factor": 0.0}
    own |= {"method.b.scheduler._target_": "x.Constant", "trainer.epochs": 1}
    told = record(own, {"scheduler.end_factor": {"choices": [0, 1]}})
    text = "Each method had its own schedule: a Cosine (end_factor=searched); b Constant."
    assert schedules(told) == text
    console = Console(file=io.StringIO(), width=200)
    print_verdict(told, console)
    assert text in console.file.getvalue()  # type: ignore[attr-defined]
    any_kind = record(shared, {"scheduler": {"choices": ["cosine", "linear"]}})
    assert any_kind.schedules() == {"a": "searched (gamma=0.5)", "b": "Step (gamma=0.5)"}
    assert schedules(record({}, {})) == ""  # an old record that doesn't say


def test_a_schedule_free_method_beside_one_whose_schedule_is_searched(
    compared: Callable[..., tuple[dict[str, Any], Path]],
) -> None:
    """To the end: each is trained with its own, and the page says what was searched for whom."""
    found, folder = compared("methods=[sgd,schedule_free_sgd]", "scheduler=cosine", SEARCHED)
    assert {doubt["check"] for doubt in found["withheld"]} >= {"schedule"}
    assert "protocol" not in {doubt["check"] for doubt in found["withheld"]}
    assert "the schedule was searched for sgd and not for schedule_free_sgd" in found["sentence"]
    for run in found["runs"]:
        text = (Path(run["folder"]) / "config.yaml").read_text()
        kind = "Cosine" if run["method"] == "sgd" else "Constant"
        assert f"_target_: src.training.schedules.{kind}\n" in text
        assert ("end_factor" in text) is (run["method"] == "sgd")
    page = (folder / "report.html").read_text()
    assert "sgd Cosine (warmup_steps=0, end_factor=searched)" in page
    assert "schedule_free_sgd Constant (warmup_steps=0)" in page
