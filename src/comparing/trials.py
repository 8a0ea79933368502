"""A study's trials and its space, as a comparison records them."""

from typing import Any

import optuna
from hydra.core.override_parser.overrides_parser import OverridesParser
from optuna.trial import FrozenTrial, TrialState

from src.comparing.record import Choices, Interval, Trial
from src.metrics import Direction
from src.results.status import BAD, Status
from src.sweeping.study import study_direction
from src.sweeping.tally import COUNTED, LOST

STATES = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: Status.PRUNED.value,
    TrialState.FAIL: Status.FAILED.value,
}


def trials_of(study: optuna.Study) -> list[Trial]:
    """The trials that ended, but for those that are run again."""
    direction = study_direction(study)
    return [_trial(trial, direction) for trial in _listed(study)]


def space_of(study: optuna.Study) -> dict[str, Interval | Choices]:
    """The dimension of every parameter of those trials."""
    space = {name: item for trial in _listed(study) for name, item in trial.distributions.items()}
    return {name: _dimension(item) for name, item in space.items()}


def _listed(study: optuna.Study) -> list[FrozenTrial]:
    ended = [trial for trial in study.get_trials(deepcopy=False) if trial.state in STATES]
    return [trial for trial in ended if trial.user_attrs.get("reason") not in LOST]


def _dimension(item: Any) -> Interval | Choices:
    """The record of a parameter's distribution."""
    if isinstance(item, optuna.distributions.CategoricalDistribution):
        return Choices(choices=[*item.choices])
    return Interval(low=item.low, high=item.high, log=item.log)


def _params(trial: FrozenTrial) -> dict[str, Any]:
    """The values that the trial was trained with, from its overrides."""
    lines = trial.user_attrs.get("overrides", ())
    overrides = OverridesParser.create().parse_overrides([*lines])
    values = {
        item.key_or_group: item.value() for item in overrides if item.key_or_group in trial.params
    }
    return {**trial.params, **values}


def _trial(trial: FrozenTrial, direction: Direction) -> Trial:
    status = trial.user_attrs.get("status")
    state = status if status in BAD else STATES[trial.state]
    value = trial.value if state == "complete" else None
    last = trial.intermediate_values[trial.last_step] if trial.last_step else None
    return Trial(
        number=trial.number,
        state=state,
        counted=trial.state in COUNTED,
        value=last if state == Status.PRUNED else value,
        cost=None
        if value is None
        else direction.sign * value,  # lower is better, whatever the metric
        params=_params(trial),
        seconds=trial.user_attrs.get("seconds"),
        steps=trial.user_attrs.get("steps"),
        folder=trial.user_attrs.get("folder"),
    )
