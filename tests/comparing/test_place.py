"""Which folder a comparison has, and what may change while it goes on there."""

import json
from pathlib import Path

import pytest

from src.comparing.place import changed, check, foreign, placed
from src.comparing.protocol import Plan, plan
from src.composing import register
from src.errors import InputError

METHODS = "methods=[sgd,adam]"


@pytest.fixture(scope="module")
def asked() -> Plan:
    register()
    return plan([METHODS])


def begun(root: Path, made: Plan, *, trained: bool = True) -> Path:
    """A folder in which a comparison has begun."""
    folder = root / made.name
    (folder / "runs" / "x").mkdir(parents=True) if trained else folder.mkdir(parents=True)
    (folder / "protocol.json").write_text(json.dumps(made.settings()))
    return folder


def test_other_settings_of_the_runs_have_another_folder(tmp_path: Path, asked: Plan) -> None:
    other = plan([METHODS, "model.hidden_sizes=[7]"])
    assert placed(other, tmp_path).name == "sgd-adam-digits-mlp"  # nobody is there
    begun(tmp_path, asked)
    name = placed(other, tmp_path).name
    assert name.startswith("sgd-adam-digits-mlp-")
    assert placed(asked, tmp_path).name == "sgd-adam-digits-mlp"
    begun(tmp_path, placed(other, tmp_path))
    assert placed(other, tmp_path).name == name
    assert placed(other, tmp_path).hash() == other.hash()


def test_searches_alone_leave_the_name_free(tmp_path: Path, asked: Plan) -> None:
    begun(tmp_path, asked, trained=False)
    other = plan([METHODS, "model.hidden_sizes=[7]"])
    assert placed(other, tmp_path).name == "sgd-adam-digits-mlp"
    check(tmp_path / asked.name, other.settings())


@pytest.mark.parametrize(
    "change",
    ["protocol.widen=1", "protocol.n_trials=32", "protocol.searches=3", "protocol.seeds=5",
     "protocol.margin=0.1", "protocol.seconds=60"],
)  # fmt: skip
def test_what_goes_on(tmp_path: Path, asked: Plan, change: str) -> None:
    """The advice of a withheld verdict can be followed with the same command."""
    one = [METHODS, "protocol.searches=1"]
    folder = begun(tmp_path, plan(one))
    settings = plan([*one, change]).settings()
    check(folder, settings)
    assert len(changed(folder, settings)) == 1
    assert placed(plan([*one, change]), tmp_path).name == asked.name


def test_a_method_may_be_added_and_none_left_out(tmp_path: Path, asked: Plan) -> None:
    """One with a schedule of its own, too, which moves the others' into their own settings."""
    folder = begun(tmp_path, asked)
    more = plan(["methods=[sgd,adam,schedule_free_sgd]"]).settings()
    assert foreign(folder, more) == []
    assert foreign(folder, plan(["methods=[sgd,lion]"]).settings())[0].startswith("methods was")


@pytest.mark.parametrize("change", ["trainer.epochs=3", "protocol.metric=val_loss"])
def test_another_comparison_under_a_given_name_is_refused(
    tmp_path: Path, asked: Plan, change: str
) -> None:
    begun(tmp_path, asked)
    other = plan([METHODS, change, f"protocol.name={asked.name}"])
    key = change.partition("=")[0]
    with pytest.raises(InputError, match=rf"holds another comparison: {key} was .*protocol\.name"):
        check(tmp_path / placed(other, tmp_path).name, other.settings())
