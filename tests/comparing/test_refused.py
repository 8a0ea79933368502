"""What a comparison can't do is said in one line, before anything is made."""

from pathlib import Path

import pytest
from hydra.errors import HydraException
from omegaconf import OmegaConf

from src.cli import describe
from src.comparing.protocol import plan
from src.comparing.refused import check_override, sampled
from src.composing import register
from src.errors import InputError
from src.overrides import parsed

METHODS = "methods=[adam,adamw]"
SPACE = "hydra.sweeper.params."
RATE = rf"{SPACE}optimizer\.lr="


@pytest.fixture(autouse=True)
def registered() -> None:
    register()


def said(overrides: list[str]) -> str:
    with pytest.raises((InputError, HydraException)) as caught:
        plan(overrides)
    return describe(caught.value)


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("methods=adam", "methods=adam: input should be a valid list"),
        ("methods=null", "methods=None: input should be a valid list"),
        ("methods=[]", "methods=[]: must be two different methods or more"),
        ("methods=[adam,adam]", "methods=['adam', 'adam']: must be two different methods or more"),
        ("methods=[[adam],sgd]", "methods: ['adam']: must be a name"),
        ("methods=[1,sgd]", "methods: 1: must be a name"),
        ("methods=sgd,adam", "methods=sgd,adam: a comparison takes a list, methods=[...]"),
        ("~methods", "methods is missing"),
        ("~protocol", "protocol is missing"),
        ("~protocol.name", "protocol.name is missing"),
        ("+protocol.foo=1", "protocol.foo=1: there is no such key"),
        ("+protocol@foo=default", "there is no such key"),
        ("protocol.metric=null", "protocol.metric=None: input should be"),
        ("protocol.n_trials=1.5", "protocol.n_trials=1.5: input should be a valid integer"),
        ("protocol.n_trials='2'", "protocol.n_trials=2: input should be a valid integer"),
        ("protocol.seeds=2,3", "protocol.seeds=2,3: a comparison takes one value here"),
        ("protocol.target=nan", "protocol.target=nan: input should be a finite number"),
        ("protocol.name=''", "protocol.name=: must be letters, digits"),
        (f"protocol.name={'a' * 256}", "must not be longer than 255 bytes"),
        (f"protocol.name='{'ä' * 128}'", "must not be longer than 255 bytes"),
        ("protocol.searches=1001", "protocol.first_seed=1000: must be 1001 or more"),
        ("protocol.first_search=1000", "protocol.first_seed=1000: must be 1015 or more"),
    ],
)  # fmt: skip
def test_settings_of_the_comparison(override: str, line: str) -> None:
    assert line in said([METHODS, override])


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("hydra.sweeper.params=null", "adam: there is nothing left to search"),
        ("hydra.sweeper.params=3", "hydra.sweeper.params=3: must be keys with what is searched"),
        ("~hydra.sweeper.params", "there is nothing left to search"),
        ("hydra.sweeper=null", "hydra.sweeper=null: not in a comparison"),
        ("hydra.sweeper={n_trials: 3}", "not in a comparison"),
        ("hydra.sweeper.storage=null", "hydra.sweeper.storage=None: input should be"),
        ("storage=nonsense", "hydra.sweeper.storage=nonsense: must be sqlite:///FILE"),
        ("storage=sqlite:///:memory:", "must be sqlite:///FILE"),
        (
            "storage=postgresql://me:secret@host/x",
            ":***@host/x: leave the password to ~/.pgpass",
        ),
        ("hydra.sweeper.max_failures=0", "hydra.sweeper.max_failures=0: input should be"),
        ("hydra.sweeper.lease_seconds=1", "hydra.sweeper.lease_seconds=1: input should be"),
        ("hydra.run.dir=x", "hydra.run.dir=x: not in a comparison"),
        ("hydra.job.chdir=true", "hydra.job.chdir=true: not in a comparison"),
        ("hydra/sweeper=basic", "hydra/sweeper=basic: not in a comparison"),
        ("hydra/launcher=basic", "hydra/launcher=basic: no launcher of workers"),
        (f"{RATE}'interval(0.5,0.1)'", "optimizer.lr=interval(0.5,0.1): an interval's lower end"),
        (f"{RATE}'tag(log,interval(0,0.1))'", "an interval with log must begin above 0"),
        (f"{RATE}'range(1,1)'", "optimizer.lr=range(1,1): "),
        (f"{RATE}interval(0.1,0.5)", "must be a text, with quotes"),
        (f"{RATE}0.1", "optimizer.lr=0.1: must be a range or choices"),
        (f"{RATE}'glob(*)'", "glob(...) chooses files of a group"),
        (f"+{SPACE}foo='choice(1,2)'", "foo: there is no such key to search"),
        (f"+{SPACE}data\\.split_seed='range(0,9)'", "a study doesn't search data.split_seed"),
        ("sampler=grid  sampler.points=1", "points must be an integer >= 2, got 1"),
        ("~sampler._target_", "sampler._target_=None: not allowed"),
        ("pruner=asha  +pruner.foo=1", "pruner: optuna.pruners.SuccessiveHalvingPruner("),
    ],
)
def test_settings_of_the_searches(override: str, line: str) -> None:
    assert line in said([METHODS, *override.split("  ")])


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("optimizer=adam", "optimizer: adamw would be src.optimizers.Adam and not src.optimizers."),
        ("optimizer._target_=torch.optim.SGD", "optimizer: adam would be torch.optim.SGD"),
        ("optimizer.lr=interval(0.1,0.2)", "a comparison takes one value here"),
        ("data.batch_size=32,64", "data.batch_size=32,64: a comparison takes one value here"),
        ("data=[digits]", "data: must be one of its choices"),
        ("~objective", "objective is missing"),
        ("objective.row=first", "objective.row=first: input should be 'best' or 'last'"),
        ("objective.direction=maximize", "must be minimize for val_loss"),
        ("data.validation_fraction=0.0", "leaves no validation set"),
        (
            "experiment=tutorial",
            "objective.metric=test_loss: must be one of val_loss,",
        ),
        ("++seed=3", "++seed=3: a comparison sets seed itself; use protocol.first_seed"),
        ("+foo=1", "foo=1: there is no such key"),
    ],
)
def test_settings_of_the_runs(override: str, line: str) -> None:
    assert line in said([METHODS, override])


def test_grids_that_end_after_unequal_numbers_of_trials() -> None:
    """Their budgets would differ, and the verdict be withheld, after all that work."""
    overrides = ["methods=[sgd,adam]", "sampler=grid", "protocol.n_trials=16"]
    assert "{'sgd': 6, 'adam': 16}; lower protocol.n_trials to 6" in said(overrides)
    assert plan([*overrides, "protocol.n_trials=6"])
    assert plan([*overrides, "sampler.points=15"])


@pytest.mark.parametrize(
    "line", ["objective.row=best", "++objective.row=best", "objective={row: best}"]
)
def test_a_row_that_was_asked_for_counts(line: str) -> None:
    assert plan([METHODS]).settings()["objective.row"] == "last"
    assert plan([METHODS, line]).settings()["objective.row"] == "best"


def test_points_of_a_space_are_values_and_not_texts() -> None:
    made = plan([METHODS, "model=mlp", f"+{SPACE}model\\.hidden_sizes='choice([10],[20,5])'",
                 f"+{SPACE}model\\.activation='choice(relu,tanh)'",
                 f"+{SPACE}data\\.batch_size='range(16,64)'"])  # fmt: skip
    points = list(sampled(made.spaces["adam"]))
    assert {str(one["model.hidden_sizes"]) for one in points} == {"[10]", "[20, 5]"}
    assert {one["model.activation"] for one in points} == {"relu", "tanh"}
    assert all(type(one["data.batch_size"]) is int for one in points)
    assert all(1e-5 <= one["optimizer.lr"] <= 0.1 for one in points)
    assert points == list(sampled(made.spaces["adam"]))


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        ([f"+{SPACE}data\\.batch_size='tag(log,interval(2,64))'"],
         "data.batch_size=2.0: input should be a valid integer"),
        ([f"+{SPACE}model\\.activation='choice(foo,bar)'"], "nothing works in the space of adam"),
        (["storage=sqlite:////proc/nowhere/studies.db"], "hydra.sweeper.storage=sqlite:////proc/"),
        (["trainer.device=mps"], "trainer.device=mps: not available here"),
    ],
)  # fmt: skip
def test_what_building_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, overrides: list[str], line: str
) -> None:
    from src import compare

    monkeypatch.setattr(compare, "OUTPUTS", tmp_path / "outputs")
    with pytest.raises(InputError, match=r"\A[^\n]*\Z") as caught:
        compare.compare([METHODS, *overrides])
    assert line in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_the_methods_of_a_plan_are_its_own() -> None:
    made = plan(["methods=[sgd,adam]", "optimizer.weight_decay=0.1"])
    targets = [OmegaConf.select(made.job(name), "optimizer._target_") for name in made.methods]
    assert targets == ["src.optimizers.SGD", "src.optimizers.Adam"]


@pytest.mark.parametrize(
    ("key", "instead"),
    [
        ("n_trials", "protocol.n_trials"),
        ("study", "protocol.name"),
        ("seed", "protocol.first_seed"),
        ("sweeps", "methods"),
        ("hydra.sweeper.n_trials", "protocol.n_trials"),
        ("hydra.sweeper.n_jobs", "protocol.n_jobs"),
        ("hydra.sweeper.study_name", "protocol.name"),
        ("hydra.sweeper.detach", "detach"),
        ("trial", ""),
        ("resume", ""),
    ],
)
def test_what_a_comparison_sets_itself(key: str, instead: str) -> None:
    """Refused before anything is composed, with the key to use."""
    (override,) = parsed([f"{key}=3"])
    with pytest.raises(InputError) as error:
        check_override(override)
    line = f"{key}=3: a comparison sets {key} itself"
    assert str(error.value) == (f"{line}; use {instead}" if instead else line)
