"""A trial's config is the one that composing, updating and resolving would give."""

from typing import Any

import pytest
import yaml
from omegaconf import OmegaConf, open_dict

from src.config import parse
from src.errors import InputError
from src.sweeping.template import Template, to_yaml
from tests.helpers import composed

KEYS = ["optimizer.lr", "search.one_minus_beta1", "model.hidden_sizes", "trial", "search.added"]
POINTS: list[list[Any]] = [
    [0.1, 0.25, [50, 20], 0, 1.5],
    [1e-05, 0.1, [7], 12, -2.0],
    [1e-05, 0.1, [7], 13, -2.0],
    [0.3, 0.05, [10, 10, 10], 10000, 1e300],
]


def test_each_trial_has_what_the_slow_way_gives() -> None:
    cfg = composed("sweeps=adam", "model=mlp")
    template = Template(cfg, KEYS)
    template.fill(dict(zip(KEYS, POINTS[-1], strict=True)))
    same = dict(template.made)
    for point in POINTS:
        slow = composed("sweeps=adam", "model=mlp")
        for key, value in zip(KEYS, point, strict=True):
            OmegaConf.update(slow, key, value, force_add=True)
        config, before, after = template.fill(dict(zip(KEYS, point, strict=True)))
        assert config == parse(slow) and config.optimizer["betas"][0] == 1 - point[1]
        assert before == OmegaConf.to_yaml(slow)
        assert after == OmegaConf.to_yaml(slow, resolve=True)
        assert yaml.safe_load(after)["trial"] == point[3]
        same = {name: each for name, each in same.items() if template.made.get(name) is each}
    assert {*same} > {"data", "trainer"} and "search" not in same


@pytest.mark.parametrize(
    "values", [{"optimizer.lr": 0.1}, {"model.hidden_sizes": [100]}], ids=["another", "its own"]
)
def test_what_a_class_does_to_its_settings_reaches_no_other_trial(values: dict[str, Any]) -> None:
    template = Template(composed("sweeps=adam", "model=mlp"), values)
    first, _, text = template.fill(values)
    first.model["hidden_sizes"].append(3)
    second, _, again = template.fill(values)
    assert second.model["hidden_sizes"] == [100] and again == text


def test_numbers_of_another_kind_are_other_values() -> None:
    template = Template(composed(), ["search.x"])
    texts = [template.fill({"search.x": value})[1] for value in (1, 1.0, 1)]
    shown = [yaml.safe_load(text)["search"]["x"] for text in texts]
    assert [repr(each) for each in shown] == ["1", "1.0", "1"]


VALUES: list[dict[str, Any]] = [  # keys that lie within others, or that are mappings
    {"optimizer.betas": [0.8, 0.9], "optimizer.betas.0": 0.5},
    {"optimizer.betas": [0.7, 0.9], "optimizer.betas.0": 0.5},
    {"optimizer.betas": [0.7, 0.9], "optimizer.betas.0": 0.6},
]


def test_a_key_within_another() -> None:
    template = Template(composed(), VALUES[0])
    for values in [*VALUES, *reversed(VALUES)]:
        slow = composed()
        for key, value in values.items():
            OmegaConf.update(slow, key, value, force_add=True)
        assert template.fill(values)[1] == OmegaConf.to_yaml(slow)


def test_nothing_of_an_earlier_value_is_left() -> None:
    template = Template(composed(), ["model.more"])
    for value in ({"a": 1}, {"b": 2}):
        text = template.fill({"model.more": value})[1]
        assert yaml.safe_load(text)["model"]["more"] == value


def test_what_follows_a_value_that_was_refused() -> None:
    template = Template(composed(), ["optimizer.lr", "trainer.epochs", "seed"])
    for epochs, seed in ((3, 1), (0, 2), (3, 1), (4, 2)):
        values = {"optimizer.lr": 0.1, "trainer.epochs": epochs, "seed": seed}
        if epochs == 0:
            with pytest.raises(InputError):
                template.fill(values)
            continue
        config = template.fill(values)[0]
        assert (config.trainer.epochs, config.seed, config.optimizer["lr"]) == (epochs, seed, 0.1)


def test_a_word_that_interpolates_follows_the_others() -> None:
    template = Template(composed(), ["search.x", "seed"])
    for seed in (3, 4):
        _, before, after = template.fill({"search.x": "${seed}", "seed": seed})
        assert "x: ${seed}" in before and yaml.safe_load(after)["search"]["x"] == seed


def test_a_value_at_the_top_may_be_interpolated_and_a_section_new() -> None:
    cfg = composed("seed=${trainer.epochs}", "trial=0")
    with open_dict(cfg):
        del cfg["search"]
    config, before, after = Template(cfg, ["trainer.epochs", "search.x"]).fill(
        {"trainer.epochs": 7, "search.x": 0.5}
    )
    assert config.seed == 7 and config.search == {"x": 0.5}
    assert "seed: ${trainer.epochs}\n" in before and "seed: 7\n" in after


def test_a_value_that_is_refused() -> None:
    template = Template(composed(), ["trainer.epochs"])
    with pytest.raises(InputError, match=r"trainer\.epochs=0: "):
        template.fill({"trainer.epochs": 0})


@pytest.mark.parametrize("word", ["true", "1", "1e3", "a: b", "x\ny", "${a}", "ü", "", "null", "#"])
def test_words_are_written_as_omegaconf_writes_them(word: str) -> None:
    assert to_yaml({"key": word}) == OmegaConf.to_yaml(OmegaConf.create({"key": word}))
    assert yaml.safe_load(to_yaml([word])) == [word]
