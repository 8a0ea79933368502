"""What a sweep searches, as its file and the command line say it."""

import json
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf
from optuna.distributions import (
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
    json_to_distribution,
)

from src.errors import InputError
from src.overrides import literal, parsed
from src.sweeping.space import Dimension, dimension, fixed_lines, is_setting, read_space
from tests.helpers import composed
from tests.test_overrides import VALUES, same


def searched(text: str) -> Dimension:
    return dimension(OverridesParser.create().parse_override(f"x={text}"))


CHOICES = {  # as they are typed: as they are meant
    "null,1,2": [None, 1, 2],
    "[100],[50,50],[]": [[100], [50, 50], []],
    "'relu','tanh'": ["relu", "tanh"],
    "relu,'null',null": ["relu", "null", None],
    "choice(relu,[a,null])": ["relu", ["a", None]],
    "'a b','c,d',\"e'f\",'g=h','[i]'": ["a b", "c,d", "e'f", "g=h", "[i]"],
    "{a:1,b:[x,'y z']},{}": [{"a": 1, "b": ["x", "y z"]}, {}],
    "true,1,1.0,'1','true'": [True, 1, 1.0, "1", "true"],
    "str(1,2)": ["1", "2"],
    "int(1.5,2.5)": [1, 2],
    "shuffle(3,1,2)": [3, 1, 2],
    "sort(3,1,2)": [1, 2, 3],
    "float(range(1,3))": [1.0, 2.0],
    "shuffle(range(1,4))": [1, 2, 3],
    "1e-3,inf": [0.001, float("inf")],
    "a\\,b,c": ["a,b", "c"],
}


@pytest.mark.parametrize("text", CHOICES)
def test_choices_are_what_they_mean(text: str) -> None:
    found = searched(text)
    assert isinstance(found.distribution, CategoricalDistribution)
    assert same([found.value(stored) for stored in found.distribution.choices], CHOICES[text])
    back = json_to_distribution(distribution_to_json(found.distribution))  # as a database keeps it
    assert back == found.distribution


@given(st.lists(VALUES, min_size=2, max_size=4, unique_by=literal))
def test_any_choice_survives_the_database(values: list[Any]) -> None:
    found = searched(",".join(map(literal, values)))
    stored = json.loads(json.dumps(found.distribution.choices))  # type: ignore[attr-defined]
    assert same([found.value(one) for one in stored], values)


INTERVALS = {
    "interval(1e-3,1)": FloatDistribution(1e-3, 1.0),
    "interval(1,8)": FloatDistribution(1.0, 8.0),
    "int(interval(1,8))": IntDistribution(1, 8),
    "tag(log,interval(1e-3,1))": FloatDistribution(1e-3, 1.0, log=True),
    "int(tag(log,interval(1,64)))": IntDistribution(1, 64, log=True),
    "range(1,10)": IntDistribution(1, 9),  # Hydra's ranges end before their stop
    "range(1,10,3)": IntDistribution(1, 7, step=3),
    "range(10,1,-3)": IntDistribution(4, 10, step=3),
    "tag(log,range(1,10))": IntDistribution(1, 9, log=True),
    "range(0.0,1.0,0.25)": FloatDistribution(0.0, 0.75, step=0.25),
}


@pytest.mark.parametrize("text", INTERVALS)
def test_intervals_and_ranges(text: str) -> None:
    found = searched(text)
    assert found.distribution == INTERVALS[text]
    assert found.value(7) == 7


REFUSED = {
    "interval(0.5,0.1)": "lower end comes first, got 0.5 and 0.1",
    "interval(1,1)": "lower end comes first, got 1.0 and 1.0",
    "interval(0,inf)": "ends must be finite numbers, got inf",
    "interval(nan,1)": "ends must be finite numbers, got nan",
    "tag(log,interval(0,0.1))": "log must begin above 0, got 0",
    "tag(log,interval(-1,1))": "log must begin above 0, got -1",
    "tag(ln,interval(1,2))": "the tag ln means nothing here; allowed: log",
    "tag(log,range(0,10))": "log must begin at 1 or above, got 0",
    "tag(log,range(1,10,2))": "in steps of 1",
    "tag(log,range(0.1,1.0,0.1))": "in steps of 1",
    "tag(log,choice(1,2))": "a choice has no scale: log",
    "range(1,1)": "at least one value",
    "range(1,10,0)": "must not be 0",
    "relu,relu": "the choice relu is there twice",
    "[1,2],[1, 2]": "the choice [1,2] is there twice",
    "glob(*)": "chooses files of a group",
}


@pytest.mark.parametrize("text", REFUSED)
def test_what_describes_no_dimension_is_refused(text: str) -> None:
    with pytest.raises(InputError) as refused:
        searched(text)
    assert str(refused.value).startswith(f"x={text}: ")
    assert REFUSED[text] in str(refused.value)


@pytest.mark.parametrize(
    ("text", "default", "stored"),
    [
        ("32,64", 32, 32),
        ("[100],[50,50]", [50, 50], "[50,50]"),
        ("null,3", None, None),
        ("1,true", True, "true"),
        ("1.0,2.0", 1, 1.0),
        ("relu,tanh", "gelu", "gelu"),  # outside
        ("interval(0,1)", 0.3, 0.3),
    ],
)
def test_the_default_is_found_among_the_choices(text: str, default: Any, stored: Any) -> None:
    assert same(searched(text).stored(default), stored)


def space(*arguments: str, sweep: str = "momentum") -> dict[str, Dimension]:
    """Of a sweep's file and the command line."""
    config = composed(f"sweeps={sweep}", *fixed_lines(None, parsed(arguments)))
    file = {
        "optimizer.lr": "tag(log, interval(1e-4, 5))",
        "search.one_minus_momentum": "tag(log, interval(5e-3, 1.0))",
    }
    return read_space(config, OmegaConf.create(file), parsed(arguments))


FILE = ["optimizer.lr", "search.one_minus_momentum"]


@pytest.mark.parametrize(
    ("arguments", "keys"),
    [
        ([], FILE),
        (["optimizer.lr=0.1"], FILE[1:]),
        (["optimizer.momentum=0.5"], FILE[:1]),
        (["optimizer.momentum=interval(0.1,0.5)"], [FILE[0], "optimizer.momentum"]),
        (["optimizer.momentum=0.1,0.5"], [FILE[0], "optimizer.momentum"]),
        (["search.one_minus_momentum=0.2"], FILE[:1]),
        (["data.batch_size=32,64", "model.activation=relu,tanh"],
         [*FILE, "data.batch_size", "model.activation"]),
        (["trainer.early_stopping.patience=null,1"], [*FILE, "trainer.early_stopping.patience"]),
        (["+optimizer.nesterov=true,false"], [*FILE, "optimizer.nesterov"]),
        (["scheduler=cosine", "scheduler.end_factor=interval(0.0,0.5)"],
         [*FILE, "scheduler.end_factor"]),
        (["model.activation=choice(relu)"], [*FILE, "model.activation"]),
    ],
)  # fmt: skip
def test_what_is_searched(arguments: list[str], keys: list[str]) -> None:
    assert list(space(*arguments)) == keys


def test_both_betas_set_by_hand_leave_no_dimension_of_the_file() -> None:
    config = composed("sweeps=adam", "optimizer.betas=[0.5,0.9]")
    file = {"search.one_minus_beta1": "interval(0.1,0.2)", "search.one_minus_beta2": "0.1,0.2"}
    params = OmegaConf.create(file)
    given = parsed(["optimizer.betas=[0.5,0.9]"])
    assert read_space(config, params, given) == {}
    one = composed("sweeps=adam", "optimizer.betas.0=0.5")
    assert list(read_space(one, params, parsed(["optimizer.betas.0=0.5"]))) == [
        "search.one_minus_beta2"
    ]


UNFIT = {  # what is measured, on what, how long, from which seed
    "seed=1,2,3": "seed",
    "data.split_seed=1,2": "data.split_seed",
    "+optimizer.seed=1,2": "optimizer.seed",
    "+model.init_seed=range(1,9)": "model.init_seed",
    "data._target_=src.data.digits.load,src.data.mnist.load": "data._target_",
    "+loss.gamma=1,2": "loss.gamma",
    "data.shuffle=true,false": "data.shuffle",
    "data.validation_fraction=interval(0.1,0.5)": "data.validation_fraction",
    "data.mean=0.0,0.5": "data.mean",
    "trainer.epochs=1,2": "trainer.epochs",
    "trainer.evaluate_every=100,200": "trainer.evaluate_every",
    "trainer.evaluate=[val],[val,train]": "trainer.evaluate",
    "trainer.threads=1,2": "trainer.threads",
    "trainer.deterministic=true,false": "trainer.deterministic",
    "objective.metric=val_loss,val_accuracy": "objective.metric",
    "objective.row=best,last": "objective.row",
    "trial=1,2": "trial",
    "search.x=1,2": "seed",
}


@pytest.mark.parametrize("argument", UNFIT)
def test_what_makes_trials_comparable_is_not_searched(argument: str) -> None:
    key = argument.partition("=")[0].lstrip("+")
    lines = ["+search.x=1", "seed=${search.x}"] if key == "search.x" else []
    with pytest.raises(InputError) as refused:
        read_space(composed(*lines), None, parsed([argument]))
    assert str(refused.value).startswith(f"{argument}: a study doesn't search {UNFIT[argument]},")


def test_a_dimension_that_nothing_reads_is_refused_if_it_was_asked_for() -> None:
    with pytest.raises(InputError, match=r"search\.x=.*: it has no effect"):
        read_space(composed("+search.x=0.5"), None, parsed(["search.x=interval(0,1)"]))
    with pytest.raises(InputError, match=r"optimizer\.lrr: there is no such key"):
        read_space(composed(), None, parsed(["optimizer.lrr=interval(0,1)"]))
    with pytest.raises(InputError, match=r"data\.batch_size=many: input should be a valid integer"):
        read_space(composed(), None, parsed(["data.batch_size=32,many"]))


def test_the_files_values_are_set_and_the_command_line_wins() -> None:
    file = {"optimizer.eps": 1e-3, "model.hidden_sizes": [5, 5], "optimizer.lr": "interval(0,1)",
              "data.batch_size": None}  # fmt: skip
    params = OmegaConf.create(file)
    lines = fixed_lines(params, parsed(["data.batch_size=64", "seed=1", "model.activation=a,b"]))
    assert lines == [
        "optimizer.eps=0.001",
        "model.hidden_sizes=[5,5]",
        "data.batch_size=64",
        "seed=1",
    ]


def test_both_ends_or_every_choice_are_tried() -> None:
    assert searched("interval(0.5,2)").examples() == [0.5, 2.0]
    assert searched("range(1,10,3)").examples() == [1, 7]
    assert [*searched("relu,[1],null").examples()] == ["relu", [1], None]
    added = [dimension(parsed([f"{sign}x=1,2"])[0]).added for sign in ("", "+", "++")]
    assert added == [False, True, True]


def test_what_is_a_setting() -> None:
    settings = "optimizer.lr scheduler.end_factor model.hidden_sizes search.x data.batch_size"
    settings += " trainer.early_stopping.patience optimizer.seeds model.seeded"
    settings += " trainer.clip_norm loss.label_smoothing"
    others = (
        "seed data.split_seed optimizer.seed model.init_seed data.path trainer.epochs loss.delta"
    )
    others += " trainer.threads trial objective.metric sampler.points"
    assert [key for key in settings.split() if not is_setting(key)] == []
    assert [key for key in others.split() if is_setting(key)] == []


def test_a_file_that_says_nothing_of_use_is_refused() -> None:
    for wrong in ("abc", 3, ["a"]):
        params = OmegaConf.create({"params": wrong}).params
        with pytest.raises(InputError, match=r"^hydra\.sweeper\.params=.*: must be keys"):
            read_space(composed(), params, [])
    with pytest.raises(InputError, match="whole numbers"):
        read_space(composed(), None, parsed(["data.batch_size=interval(8.5,64)"]))


def test_a_dimension_beyond_a_list_is_refused_in_one_line() -> None:
    line = "++optimizer.betas.5=interval(0, 1)"
    with pytest.raises(InputError) as error:
        read_space(composed(), None, parsed([line]))
    assert str(error.value) == f"{line}: list index out of range"


def test_a_choice_that_is_there_twice_is_named() -> None:
    with pytest.raises(InputError, match=r"x=choice\(1,2,2\): the choice 2 is there twice"):
        searched("choice(1,2,2)")


def test_what_a_file_says_may_be_interpolated() -> None:
    config = OmegaConf.create({"high": 0.5, "params": {"optimizer.lr": "interval(0.1, ${high})"}})
    space = read_space(composed(), config.params, [])
    distribution = space["optimizer.lr"].distribution
    assert (distribution.low, distribution.high) == (0.1, 0.5)  # type: ignore[attr-defined]


def test_a_key_that_only_some_choices_bring_is_an_effect() -> None:
    for text in ("{},{a:1}", "{a:1},{}", "{a:1},{b:1}", "{a:1},{a:2}"):
        assert "optimizer.mine" in read_space(composed(), None, parsed([f"+optimizer.mine={text}"]))


def test_only_a_number_that_should_be_whole_is_told_how() -> None:
    with pytest.raises(InputError, match=r"int\(interval\(\.\.\.\)\) is of whole numbers"):
        read_space(composed(), None, parsed(["data.batch_size=interval(8.0, 64.0)"]))
    with pytest.raises(InputError) as error:
        read_space(composed(), None, parsed(["data.validation_fraction=interval(1.0, 2.0)"]))
    assert "whole numbers" not in str(error.value)
