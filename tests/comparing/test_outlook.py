"""What a comparison will do, in words; each number by hand."""

from types import SimpleNamespace
from typing import Any

import pytest

from src.comparing import outlook
from src.comparing.record import Search, Trial
from tests.comparing.conftest import made_plan


def asked(metric: str = "test_loss", **changes: Any) -> Any:
    made = made_plan(metric, **{"n_trials": 5, "seeds": 10, **changes})
    made.pruner, made.launcher = "", None
    return made


def told(made: Any, others: Any = ()) -> list[str]:
    return [*outlook.lines(made, others)]


def test_every_word_of_a_plan() -> None:
    """3 methods x 1 search x 5 trials; 3 x (winner + default) x 10 seeds."""
    assert told(asked()) == [
        "Which of a, b and c ends with the lower test loss, on digits with mlp?",
        "1. Each method is tuned in 1 search of 5 trials: 15 trials in all.",
        "2. Each winner and each method's default is trained on 10 fresh seeds: 60 runs.",
        "3. Each pair ends as better, equivalent (surely within 5% of a's mean) or undecided; a "
        "false difference between any two in at most 5% of comparisons.",
    ]


def test_every_word_of_a_plan_with_several_looks() -> None:
    """3 x 3 x 1,000 trials, as many more at two looks; 3 x 10 defaults and 3 x 3 x 10 or 40."""
    made = asked("test_accuracy", n_trials=1000, searches="auto", seeds="auto", looks=[10, 20, 40],
                 margin=0.01, reference="b")  # fmt: skip
    made.pruner = "asha"
    assert told(made) == [
        "Which of a, b and c ends with the higher test accuracy, on digits with mlp?",
        "1. Each method is tuned in 3 searches of 1,000 trials, pruned by asha, and more "
        "(up to 9) while their luck may decide: 9,000 to 27,000 trials in all.",
        "2. Each winner is trained on 10 fresh seeds, and so is each method's default: 120 runs. "
        "Winners that can't be told apart go on to 20 and 40: 390 runs at most.",
        "3. Each pair ends as better, equivalent (surely within 0.01) or undecided; a false "
        "difference between any two in at most 5% of comparisons.",
    ]


def test_one_trial_of_one_search_and_one_run() -> None:
    made = asked(methods=("a",), n_trials=1)
    assert "in 1 search of 1 trial: 1 trial in all." in told(made)[1]
    assert (
        told(asked(margin="5%", reference="b"))[3]
        .split("surely ")[1]
        .startswith("within 5% of b's mean)")
    )


def test_of_several_problems_none_is_named() -> None:
    """Nor a metric, unless all have the same."""
    one, other = asked(), asked("test_accuracy")
    assert told(one, [asked()])[0] == "Which of a, b and c ends with the lower test loss?"
    assert told(one, [asked(), other])[0] == (
        "Which of a, b and c ends better, by each problem's own metric?"
    )


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 seconds"), (40, "40 seconds"), (119, "119 seconds"), (120, "2 minutes"),
     (7199, "120 minutes"), (7200, "2 hours"), (36_000, "10 hours")],
)  # fmt: skip
def test_a_duration_in_words(seconds: float, words: str) -> None:
    assert outlook.duration(seconds) == words


@pytest.mark.parametrize(
    ("changes", "trials", "done", "left"),
    [
        # 15 trials and 60 runs of 10 s
        ({}, 0, 0, "about 12 minutes left"),
        ({}, 15, 0, "about 10 minutes left"),
        ({}, 99, 48, "about 2 minutes left"),
        ({}, 15, 60, "about 0 seconds left"),
        ({}, 15, 99, "about 0 seconds left"),
        # workers share the searches' trials
        ({"n_jobs": 3}, 0, 60, "about 50 seconds left"),
        ({"n_jobs": 3}, 6, 60, "about 30 seconds left"),
        # 60 to 3 x 10 + 3 x 40 = 150 runs
        ({"seeds": "auto", "looks": [10, 40]}, 15, 0, "about 10 minutes to 25 minutes left"),
        ({"seeds": "auto", "looks": [10, 40]}, 15, 60, "at most about 15 minutes left"),
        ({"seeds": "auto", "looks": [10, 40]}, 15, 54, "about 60 seconds to 16 minutes left"),
    ],
)
def test_the_time_that_is_left(changes: dict[str, Any], trials: int, done: int, left: str) -> None:
    """As if everything took the mean of what was seen, 10 seconds."""
    assert outlook.remaining(asked(**changes), [5.0, 15.0], trials, done) == left


def test_what_tells_the_time_and_what_is_counted() -> None:
    """Complete trials that have seconds; what was pruned counts, what was lost doesn't."""
    trials = [
        Trial(number=0, state="complete", seconds=10.0),
        Trial(number=1, state="complete", seconds=None),
        Trial(number=2, state="pruned", seconds=1000.0),
        Trial(number=3, state="fail", seconds=1000.0, counted=False),
    ]
    counted = sum(trial.counted for trial in trials)
    assert counted == 3
    made = asked()
    assert outlook.left(made, [Search(method="a", trials=trials)], 60) == "about 2 minutes left"
    assert outlook.left(made, [Search(method="a", trials=trials[1:])], 60) == ""


@pytest.mark.parametrize(
    ("count", "kind", "words"),
    [
        (1, None, []),
        (2, None, ["2 workers of this machine make searches and runs."]),
        (1, "ray", ["1 worker on ray make searches and runs."]),
        (3, "ray", ["3 workers on ray make searches and runs."]),
    ],
)
def test_who_makes_it(count: int, kind: str | None, words: list[str]) -> None:
    made = asked(n_jobs=count)
    made.launcher = kind and SimpleNamespace(kind=kind)
    assert [*outlook.workers(made)] == words


def test_the_time_of_several_searches() -> None:
    """Two searches of five trials of three methods are 30 trials of ten seconds; 90 runs done."""
    made = asked(searches=2)
    assert outlook.remaining(made, [10.0], 0, 90) == "about 5 minutes left"
    assert outlook.runs(made) == (90, 90), "30 of defaults, and 60 of winners"
