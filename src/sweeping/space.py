"""The search space of a sweep, read from its file and the command line."""

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

# Settings of the method or the model. The metric, the data, the length and the seed make trials
# comparable: a search over them would choose the luckiest trial.
SETTINGS = (
    *("optimizer.", "scheduler.", "model.", "search."),
    *("data.batch_size", "trainer.early_stopping.", "trainer.clip_norm", "loss.label_smoothing"),
)
PRIMITIVE = (bool, int, float, str, type(None))
SEARCHABLE = (
    "optimizer, scheduler, model, data.batch_size, trainer.early_stopping, trainer.clip_norm and "
    "loss.label_smoothing"
)


@dataclass(frozen=True)
class Dimension:
    """One searched parameter.

    Args:
        key: of the config, dotted.
        line: the override that describes it.
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
        """The config's value for a value that the study holds."""
        if self.choices is None:
            return stored
        return self.choices[int(self.distribution.to_internal_repr(stored))]

    def stored(self, value: Any) -> Any:
        """The study's value for a value of the config; the value itself if it has none."""
        if isinstance(self.distribution, CategoricalDistribution):
            for stored, choice in zip(self.distribution.choices, self.choices or (), strict=True):
                if choice == value and isinstance(choice, bool) == isinstance(value, bool):
                    return stored
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
        InputError: the sweep describes no dimension.
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
    if unknown := sorted(tags - {"log"}):
        raise ValueError(f"the tag {unknown[0]} means nothing here; allowed: log")
    return "log" in tags


def _choices(override: Override) -> tuple[Any, ...]:
    """The values of a choice, as Hydra would put them into a config."""
    sweep: Any = override.value()
    if not hasattr(sweep, "list"):
        raise ValueError("glob(...) chooses files of a group; a study searches values")
    if sweep.tags:
        raise ValueError(f"a choice has no scale: {sorted(sweep.tags)[0]} means nothing here")
    return tuple(Override._convert_value(item) for item in sweep.list)


def _categorical(choices: tuple[Any, ...]) -> CategoricalDistribution:
    """The values themselves where a database can tell them apart, else their spelling."""
    stored = [value if isinstance(value, PRIMITIVE) else literal(value) for value in choices]
    if len(set(stored)) < len(stored):  # 1, 1.0 and true are equal
        stored = [literal(value) for value in choices]
    if len(set(stored)) < len(stored):
        twice = next(value for value in stored if stored.count(value) > 1)
        raise ValueError(f"the choice {twice} is there twice")
    return CategoricalDistribution(stored)


def read_space(
    config: DictConfig, params: DictConfig | None, arguments: Iterable[Override]
) -> dict[str, Dimension]:
    """The searched dimensions; one of the command line replaces the file's.

    Args:
        config: a composed config without its `hydra` node, with the values that were given.
        params: the file's `hydra.sweeper.params`.
        arguments: the command line.

    Returns:
        The dimensions by key. A dimension of the file without effect, because the command line
        sets what it would, is left out.

    Raises:
        InputError: a dimension doesn't exist, has no effect, or isn't a setting.
    """
    by_key = {override.key_or_group: override for override in arguments}
    searched = {key: line for key, line in by_key.items() if line.is_sweep_override()}
    filed = {line.key_or_group: line for line in _filed(params) if line.is_sweep_override()}
    lines = {**{key: line for key, line in filed.items() if key not in by_key}, **searched}
    space = {key: dimension(line) for key, line in lines.items()}
    for key, parameter in space.items():
        if not parameter.added and OmegaConf.select(config, key, default=parameter) is parameter:
            raise InputError(f"hydra.sweeper.params: {key}: there is no such key to search")
    return {
        key: parameter
        for key, parameter in space.items()
        if _has_effect(config, parameter, space) or _must_have(key in searched, parameter)
    }


def fixed_lines(params: DictConfig | None, arguments: Iterable[Override]) -> list[str]:
    """The overrides of the file and of the command line that set a value."""
    arguments = [*arguments]
    keys = {override.key_or_group for override in arguments}
    filed = [override for override in _filed(params) if override.key_or_group not in keys]
    lines = (*filed, *arguments)
    return [str(line.input_line) for line in lines if not line.is_sweep_override()]


def _filed(params: Any) -> list[Override]:
    """The file's lines; a YAML value that isn't text is taken as it is."""
    if not isinstance(params, DictConfig | None):
        raise InputError(
            f"hydra.sweeper.params={params}: must be keys with what is searched of each"
        )
    values: Any = OmegaConf.to_container(params, resolve=True) if params else {}
    return parsed(
        f"{key}={value if isinstance(value, str) else literal(value)}"
        for key, value in values.items()
    )


def _must_have(on_command_line: bool, parameter: Dimension) -> bool:
    """Refuse a dimension of the command line without effect; False for one of the file."""
    if on_command_line:
        reason = f"it has no effect: nothing in the config reads {parameter.key}"
        raise InputError(f"{parameter.line}: {reason}")
    return False


def _has_effect(config: DictConfig, parameter: Dimension, space: Mapping[str, Dimension]) -> bool:
    """Whether different values make different runs.

    Raises:
        InputError: a value makes a run that a study can't compare, or no run.
    """
    runs = [_with(config, parameter, value, space) for value in parameter.examples()]
    first, *rest = runs
    changed = {
        key
        for run in rest
        for key in {*run, *first}
        if key not in run or key not in first or run[key] != first[key]
    }
    unfit = sorted(key for key in changed if not is_setting(key))
    unfit.sort(key=parameter.key.__ne__)  # others may follow from it
    if unfit:
        raise InputError(
            f"{parameter.line}: a study doesn't search {unfit[0]}, only settings of the method "
            f"and the model ({SEARCHABLE}); a plain multirun, -m without sweeps=, may vary it"
        )
    alone = len(rest) == 0  # a single choice can't make a difference, and is meant so
    return alone or any(not key.startswith("search.") for key in changed)


def is_setting(key: str) -> bool:
    """Whether a key of the config is a setting of the method or the model."""
    name = key.split(".")[-1]
    is_seed = name == "seed" or name.endswith("_seed")
    return key.startswith(SETTINGS) and not is_seed


def _with(
    config: DictConfig, parameter: Dimension, value: Any, space: Mapping[str, Dimension]
) -> dict[str, Any]:
    """The config, flat, with one dimension at `value` and each other at its first example."""
    config = copy.deepcopy(config)
    others = [other for other in space.values() if other is not parameter]
    examples = {other.key: other.examples()[0] for other in others}
    try:
        for key, item in {parameter.key: value, **examples}.items():
            OmegaConf.update(config, key, item, force_add=True)
        parse(config)
        return flatten(OmegaConf.to_container(config, resolve=True))
    except OmegaConfBaseException as error:
        raise InputError(f"{parameter.line}: {str(error).splitlines()[0]}") from error
    except InputError as error:
        if isinstance(value, float) and "valid integer" in str(error):
            raise InputError(f"{error}; int(interval(...)) is of whole numbers") from error
        raise
