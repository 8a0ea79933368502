"""The search space of a sweep: what its file and the command line say is searched."""

import copy
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from hydra_plugins.hydra_optuna_sweeper._impl import create_optuna_distribution_from_override
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from src.config import flatten, parse
from src.errors import InputError
from src.overrides import literal, parsed

# What is a setting of the method or the model. What is measured, on what data, for how long and
# from which seed makes trials comparable: a search over it would choose the luckiest.
SETTINGS = (
    *("optimizer.", "scheduler.", "model.", "search."),
    *("data.batch_size", "trainer.early_stopping."),
)
PRIMITIVE = (bool, int, float, str, type(None))
SEARCHABLE = "optimizer, scheduler, model, data.batch_size and trainer.early_stopping"


@dataclass(frozen=True)
class Dimension:
    """One searched parameter.

    Args:
        key: of the config, dotted.
        line: the override that says so.
        distribution: as Optuna knows it.
        choices: of a choice, the values that the distribution's choices stand for: a database
            holds null, numbers, truth values and text, and anything else as text.
        added: the composed config may lack the key.
    """

    key: str
    line: str
    distribution: BaseDistribution
    choices: tuple[Any, ...] | None
    added: bool

    def value(self, stored: Any) -> Any:
        """What goes into the config for what the study holds."""
        if self.choices is None:
            return stored
        return self.choices[int(self.distribution.to_internal_repr(stored))]

    def stored(self, value: Any) -> Any:
        """What the study holds for a value of the config; the value itself if it holds none."""
        if isinstance(self.distribution, CategoricalDistribution):
            for known, choice in zip(self.distribution.choices, self.choices or (), strict=True):
                if choice == value and isinstance(choice, bool) == isinstance(value, bool):
                    return known
        return value

    def examples(self) -> Sequence[Any]:
        """Values of the config: every choice, or both ends."""
        if self.choices is not None:
            return self.choices
        assert isinstance(self.distribution, FloatDistribution | IntDistribution)
        return [self.distribution.low, self.distribution.high]


def dimension(override: Override) -> Dimension:
    """The dimension that a sweep over values describes.

    Raises:
        InputError: it describes none.
    """
    line, choices = str(override.input_line), None
    try:
        if override.is_interval_sweep():
            distribution = _interval(override.value())
        elif override.is_range_sweep():
            distribution, choices = _range(override)
        else:
            choices = _choices(override)
            distribution = _categorical(choices)
    except ValueError as error:
        raise InputError(f"{line}: {' '.join(str(error).split())}") from error
    added = override.is_add() or override.is_force_add()
    return Dimension(override.key_or_group, line, distribution, choices, added)


def _interval(sweep: Any) -> BaseDistribution:
    assert isinstance(sweep, IntervalSweep)
    low, high = sweep.start, sweep.end
    log = _is_log(sweep.tags)
    for end in (low, high):
        if isinstance(end, bool) or not isinstance(end, int | float) or not math.isfinite(end):
            raise ValueError(f"an interval's ends must be finite numbers, got {end}")
    assert low is not None and high is not None
    if low >= high:
        raise ValueError(f"an interval's lower end comes first, got {low} and {high}")
    if log and low <= 0:
        raise ValueError(f"an interval with log must begin above 0, got {low}")
    if isinstance(low, int) and isinstance(high, int):
        return IntDistribution(low, high, log=log)
    return FloatDistribution(low, high, log=log)


def _range(override: Override) -> tuple[BaseDistribution, tuple[Any, ...] | None]:
    sweep = override.value()
    assert isinstance(sweep, RangeSweep)
    log = _is_log(sweep.tags)
    if sweep.step == 0:
        raise ValueError("a range's step must not be 0")
    if sweep.transformers or sweep.shuffle:  # the order means nothing to a study
        choices: tuple[Any, ...] | None = tuple(sweep)
        distribution: BaseDistribution = _categorical(tuple(sweep))
    else:
        choices, distribution = None, create_optuna_distribution_from_override(override)
    if not log:
        return distribution, choices
    if not isinstance(distribution, IntDistribution) or distribution.step != 1:
        raise ValueError("log needs a range of whole numbers in steps of 1; interval takes any")
    if distribution.low < 1:
        raise ValueError(f"a range with log must begin at 1 or above, got {distribution.low}")
    return IntDistribution(distribution.low, distribution.high, log=True), None


def _is_log(tags: set[str]) -> bool:
    if other := sorted(tags - {"log"}):
        raise ValueError(f"the tag {other[0]} means nothing here; allowed: log")
    return "log" in tags


def _choices(override: Override) -> tuple[Any, ...]:
    """The values between which a choice chooses, as Hydra would put them into a config."""
    sweep: Any = override.value()
    if not hasattr(sweep, "list"):
        raise ValueError("glob(...) chooses files of a group; a study searches values")
    if sweep.tags:
        raise ValueError(f"a choice has no scale: {sorted(sweep.tags)[0]} means nothing here")
    return tuple(Override._convert_value(item) for item in sweep.list)


def _categorical(choices: tuple[Any, ...]) -> CategoricalDistribution:
    """Values as they are where a database keeps them apart, else as the grammar spells them."""
    stored = [one if isinstance(one, PRIMITIVE) else literal(one) for one in choices]
    if len(set(stored)) < len(stored):  # 1, 1.0 and true are equal
        stored = [literal(one) for one in choices]
    if len(set(stored)) < len(stored):
        twice = next(one for one in stored if stored.count(one) > 1)
        raise ValueError(f"the choice {twice} is there twice")
    return CategoricalDistribution(stored)


def read_space(
    config: DictConfig, params: DictConfig | None, arguments: Iterable[Override]
) -> dict[str, Dimension]:
    """What is searched: the file's dimensions, and those of the command line in their place.

    Args:
        config: a composed config without its `hydra` node, with the values that were given.
        params: the file's `hydra.sweeper.params`.
        arguments: the command line.

    Returns:
        The dimensions by key. A dimension of the file without effect, because the command line
        sets what it would, is left out.

    Raises:
        InputError: a dimension that doesn't exist, has no effect, or isn't a setting.
    """
    given = {override.key_or_group: override for override in arguments}
    asked = {key: one for key, one in given.items() if one.is_sweep_override()}
    filed = {one.key_or_group: one for one in _filed(params) if one.is_sweep_override()}
    overrides = {**{key: one for key, one in filed.items() if key not in given}, **asked}
    space = {key: dimension(one) for key, one in overrides.items()}
    for key, one in space.items():
        if not one.added and OmegaConf.select(config, key, default=one) is one:
            raise InputError(f"hydra.sweeper.params: {key}: there is no such key to search")
    return {
        key: one
        for key, one in space.items()
        if _has_effect(config, one, space) or _must_have(key in asked, one)
    }


def fixed_lines(params: DictConfig | None, arguments: Iterable[Override]) -> list[str]:
    """The overrides of the file and of the command line that set a value."""
    arguments = [*arguments]
    given = {one.key_or_group for one in arguments}
    filed = [one for one in _filed(params) if one.key_or_group not in given]
    return [str(one.input_line) for one in (*filed, *arguments) if not one.is_sweep_override()]


def _filed(params: Any) -> list[Override]:
    """The file's lines; a value of YAML that is no text is that value."""
    if not isinstance(params, DictConfig | None):
        raise InputError(
            f"hydra.sweeper.params={params}: must be keys with what is searched of each"
        )
    values: Any = OmegaConf.to_container(params, resolve=True) if params else {}
    return parsed(
        f"{key}={value if isinstance(value, str) else literal(value)}"
        for key, value in values.items()
    )


def _must_have(asked: bool, one: Dimension) -> bool:
    """False for a dimension of the file, which the command line overrides."""
    if asked:
        raise InputError(f"{one.line}: it has no effect: nothing in the config reads {one.key}")
    return False


def _has_effect(config: DictConfig, one: Dimension, space: Mapping[str, Dimension]) -> bool:
    """Whether different values make different runs.

    Raises:
        InputError: they make runs that a study can't compare, or none.
    """
    runs = [_with(config, one, value, space) for value in one.examples()]
    first, *others = runs
    changed = {
        key
        for run in others
        for key in {*run, *first}
        if key not in run or key not in first or run[key] != first[key]
    }
    if unfit := sorted(key for key in changed if not is_setting(key)):
        raise InputError(
            f"{one.line}: a study doesn't search {unfit[0]}, only settings of the method and the "
            f"model ({SEARCHABLE}); a plain multirun, -m without sweeps=, may vary it"
        )
    alone = len(others) == 0  # a single choice is what was said, not a dimension without effect
    return alone or any(not key.startswith("search.") for key in changed)


def is_setting(key: str) -> bool:
    """Whether a key of the config is a setting of the method or the model."""
    name = key.split(".")[-1]
    is_seed = name == "seed" or name.endswith("_seed")
    return key.startswith(SETTINGS) and not is_seed


def _with(
    config: DictConfig, one: Dimension, value: Any, space: Mapping[str, Dimension]
) -> dict[str, Any]:
    """The config, flat, with one dimension at a value and the others somewhere."""
    config = copy.deepcopy(config)
    others = {other.key: other.examples()[0] for other in space.values() if other is not one}
    try:
        for key, item in {one.key: value, **others}.items():
            OmegaConf.update(config, key, item, force_add=True)
        parse(config)
        return flatten(OmegaConf.to_container(config, resolve=True))
    except OmegaConfBaseException as error:
        raise InputError(f"{one.line}: {str(error).splitlines()[0]}") from error
    except InputError as error:
        if isinstance(value, float) and "valid integer" in str(error):
            raise InputError(f"{error}; int(interval(...)) is of whole numbers") from error
        raise
