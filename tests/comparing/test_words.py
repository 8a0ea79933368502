"""Two sentences at most, for any number of methods."""

from itertools import combinations

import pytest

from src.comparing.record import Doubt, Pair, Speed
from src.comparing.words import (
    against,
    basis,
    headline,
    is_held,
    listed,
    sentence,
    speed,
    steady,
    verdict,
)
from src.metrics import Direction


def told(methods: str, told: dict[str, str], ratios: dict[str, float] | None = None, **more: str):  # type: ignore[no-untyped-def]
    """The sentence on methods of one letter; pairs that aren't named are decided by their order."""
    pairs = []
    for a, b in combinations(methods, 2):
        word = told.get(a + b, "better")
        ratio = (ratios or {}).get(a + b)
        speeds = [Speed(by="steps", ratio=ratio, verdict="sooner" if ratio < 1 else "later")] * 3 \
            if ratio else []  # fmt: skip
        within = word in ("equivalent", "slightly")
        word = "better" if word == "slightly" else word
        pairs.append(Pair(a=a, b=b, verdict=word, within_margin=within, speeds=speeds))
    direction = Direction(more.get("direction", "minimize"))
    return sentence([*methods], pairs, more.get("metric", "test_loss"), direction, "5%")


@pytest.mark.parametrize(
    ("methods", "pairs", "text"),
    [
        ("ab", {}, "a is best: its test loss ends lower than that of every other method. "
                   "b ends with a higher test loss."),
        ("abcd", {"ab": "equivalent", "cd": "equivalent"},
         "a and b are best and equivalent: their test loss ends the same (within 5%). "
         "c and d are equivalent, and both end with a higher test loss."),
        ("abc", {"ab": "slightly"},
         "a and b are best and equivalent: their test loss ends the same (within 5%). "
         "c ends with a higher test loss."),
        ("abc", {"ab": "undecided"},
         "One of a and b is best in test loss, but these runs don't tell which. "
         "c ends with a higher test loss."),
        ("ab", {"ab": "undecided"},
         "No method is surely better than another in test loss: these runs don't tell."),
        ("ab", {"ab": "equivalent"},
         "a and b are equivalent: their test loss ends the same (within 5%)."),
        ("abcde", {"de": "undecided"},
         "a is best: its test loss ends lower than that of every other method. "
         "b, c, d and e end with a higher test loss."),
    ],
)  # fmt: skip
def test_the_sentences(methods: str, pairs: dict[str, str], text: str) -> None:
    assert told(methods, pairs) == text


def test_as_good_but_sooner() -> None:
    """b reaches the target in a third of a's steps, so it is best although a ends a bit lower."""
    text = told("abc", {"ab": "equivalent"}, {"ab": 3.0})
    assert text == (
        "b is best: its test loss ends as good as that of a (within 5%), in 0.33 times the steps "
        "to the target. c ends with a higher test loss."
    )


def test_sooner_than_all_that_are_as_good() -> None:
    alike = dict.fromkeys(("ab", "ac", "bc"), "equivalent")
    text = told("abc", alike, {"ab": 0.3, "ac": 0.5})
    assert "as that of b and c (within 5%), in at most 0.50 times the steps" in text
    assert "a, b and c are equivalent" in told("abc", alike, {"ab": 0.3})


def test_best_but_later() -> None:
    """b reaches the target in a quarter of the steps of a, which ends lower, and c in half."""
    text = told("abc", {}, {"ab": 4.0, "ac": 2.0})
    assert text.startswith(
        "a is best: its test loss ends lower than that of every other method, but b reaches the "
        "target in 0.25 times its steps. b and c "
    )


def test_what_is_maximized() -> None:
    text = told("ab", {}, metric="val_accuracy", direction="maximize")
    assert text.startswith("a is best: its validation accuracy ends higher than that of every")
    assert text.endswith("b ends with a lower validation accuracy.")


def test_it_is_never_longer_for_more_methods() -> None:
    many = told("abcdefghijklmnopqrstuvwxyz", {})
    assert many.count(". ") == 1
    assert "b and 24 others end with a higher test loss." in many
    assert len(many) < 160
    assert listed("abcd") == "a, b, c and d"


def doubted(*methods: str | None) -> str:
    """The headline on a, which is better than b, c and d, with a doubt about each of these."""
    pairs = [Pair(a=a, b=b, verdict="better") for a, b in combinations("abcd", 2)]
    doubts = [Doubt(method=name, text=f"{name} is odd") for name in methods]
    return headline([*"abcd"], pairs, "test_loss", Direction.MINIMIZE, "5%", doubts)


def test_nothing_is_said_where_all_are_in_doubt() -> None:
    """What stands against all comes first: without the others it would be the same."""
    best = "a is best: its test loss ends lower than that of every other method."
    held = doubted("b", None)
    assert held == f"Withheld: None is odd (and 1 more). Without these doubts: {best}"
    assert doubted(None, None) == f"Withheld: None is odd. Without that doubt: {best}"
    assert doubted("b", "c", "d") == (
        f"Withheld: b is odd (and 2 more). Without these doubts: {best}"
    ), "one method is compared with none"
    pairs, odd = [Pair(a="a", b="b", verdict="undecided")], [Doubt(text="x")]
    text = headline([*"ab"], pairs, "test_loss", Direction.MINIMIZE, "5%", odd)
    assert text.startswith("Withheld: x. Without that doubt: no method is surely better")


def test_methods_in_doubt_are_left_aside() -> None:
    """What is said of the others is said of their pairs alone; where these are few, by name."""
    ends = "its test loss ends lower than that of every other method"
    assert doubted("a", "a") == f"Leaving a aside, b is best: {ends}. Withheld: a is odd."
    assert doubted("c", "b") == (f"Of a and d, a is best: {ends}. Withheld: c is odd (and 1 more).")
    assert doubted().startswith(f"a is best: {ends}. b, c and d")
    assert doubted("x") == doubted(), "of another comparison"
    pairs = [Pair(a=a, b=b, verdict="undecided") for a, b in combinations("abc", 2)]
    odd = [Doubt(method="c", text="c is odd")]
    text = headline([*"abc"], pairs, "test_loss", Direction.MINIMIZE, "5%", odd)
    assert text.startswith("Leaving c aside, no method is surely better than another in test loss")


def test_a_margin_in_doubt() -> None:
    """It is a share of a mean that a failed search may have made large: nothing rests on it."""
    verdicts = {"ab": "equivalent", "ac": "better", "bc": "better"}
    pairs = [
        Pair(a=a, b=b, verdict=verdicts.get(a + b, "better"), within_margin=a + b == "bc")
        for a, b in combinations("abcd", 2)
    ]
    odd = [Doubt(method="d", text="d is odd")]

    def told(reference: str) -> str:
        return headline([*"abcd"], pairs, "test_loss", Direction.MINIMIZE, "5%", odd, reference)

    assert told("").startswith("Leaving d aside, a and b are best and equivalent")
    assert "equivalent" in told("a") and "equivalent" not in told("d")
    assert told("d") == (
        "Leaving d aside, one of a and b is best in test loss, but these runs don't tell which. "
        "Withheld: d is odd."
    )
    assert [is_held(pair, odd, "d") for pair in pairs] == [True, False, True, True, True, True]
    assert [is_held(pair, odd, "a") for pair in pairs] == [False, False, True, False, True, True]


def test_what_stands_against_a_pair() -> None:
    doubts = [Doubt(method="a", text="x"), Doubt(text="all"), Doubt(method="b", text="y")]
    assert [each.text for each in against(doubts, "a", "c")] == ["x", "all"]
    assert [each.text for each in against(doubts, "c")] == ["all"]
    told = Pair(a="a", b="b", verdict="better")
    assert verdict(told, [Doubt(method="b")]) == "withheld (better)"
    assert verdict(told, [Doubt(method="c")]) == "better"


def test_what_a_verdict_rests_on() -> None:
    """Methods that were told apart sooner than others had fewer searches and seeds."""
    facts = {"problem": "digits", "better": "less is better", "ended": ", at the last look"}
    assert basis(facts, [10, 40, 20], [3, 9, 6], "16 trials") == (
        "On digits; less is better. Each method was tuned in 3 to 9 searches of 16 trials and "
        "trained on 10 to 40 fresh seeds, at the last look. The luck of seeds and of searches is "
        "in it."
    )
    one = basis({**facts, "ended": ""}, [10, 10], [1, 1], "4 trials")
    assert "in one search of 4 trials and trained on 10 fresh seeds. The luck of a search" in one


def test_the_words_of_a_pair() -> None:
    assert verdict(Pair(a="a", b="b", verdict="worse", within_margin=True)) == (
        "worse by less than the margin"
    )
    assert verdict(Pair(a="a", b="b", verdict="equivalent", within_margin=True)) == "equivalent"
    quick = Speed(ratio=0.333, low=0.281, high=0.402, verdict="sooner")
    pair = Pair(a="a", b="b", speeds=[quick] * 3)
    assert speed(pair, "steps") == "sooner: 0.33× (0.28 to 0.40)"
    assert speed(pair, "seconds") == "–"
    near = Pair(a="a", b="b", speeds=[quick, Speed(ratio=1.0, verdict="undecided"), quick])
    assert not steady(near)
    assert speed(near, "steps").startswith("sooner, but not at targets 5% off: ")
    missed = Speed(ratio=0.5, low=None, high=0.6, missed=(0, 3), verdict="sooner")
    assert speed(Pair(a="a", b="b", speeds=[missed] * 3), "steps") == "sooner: ≤ 0.50× (0 to 0.60)"
