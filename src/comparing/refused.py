"""What a comparison refuses before it starts: settings of its own, and what can't work."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf
from pydantic import Field, ValidationError

from src.config import Config, Section, first_error, job_config, parse
from src.errors import InputError
from src.metrics import SETS, direction_of, part, quantity
from src.targets import build

# Settings that a comparison makes itself, and the keys that it takes them from.
RESERVED = {
    "n_trials": "protocol.n_trials",
    "study": "protocol.name",
    "seed": "protocol.first_seed",
    "sweeps": "methods",
    "hydra.sweeper.n_trials": "protocol.n_trials",
    "hydra.sweeper.n_jobs": "protocol.n_jobs",
    "hydra.sweeper.study_name": "protocol.name",
    "hydra.sweeper.detach": "detach",
    **dict.fromkeys(("trial", "resume"), ""),
}
# Hydra's settings that it takes; the others would have no effect, or move its folders.
OPEN = ("hydra.searchpath", *(f"hydra.sweeper.{key}" for key in
        ("params", "storage", "max_failures", "lease_seconds")))  # fmt: skip
LAUNCHER = "hydra.launcher"


Space = dict[str, Any]  # dimensions by key, as src.sweeping.space reads them
POINTS = 8  # points of a space that are tried before it is searched


class Sweeper(Section):
    """The settings of `hydra.sweeper` that a comparison takes; it makes the others itself."""

    storage: str
    max_failures: Annotated[int, Field(ge=1)]
    lease_seconds: Annotated[int, Field(ge=6)]


def check_override(override: Override) -> None:
    """Refuse settings that a comparison makes itself, and those without effect in one."""
    key, line = override.key_or_group, override.input_line
    if key in RESERVED:
        instead = f"; use {RESERVED[key]}" if RESERVED[key] else ""
        raise InputError(f"{line}: a comparison sets {key} itself{instead}")
    if override.is_sweep_override():
        if key.startswith("hydra.sweeper.params."):
            raise InputError(f"{line}: must be a text, with quotes that the shell leaves: '...'")
        listed = "a list, methods=[...]" if key == "methods" else "one value here"
        raise InputError(
            f"{line}: a comparison takes {listed}; it searches what the files of sweeps/ and "
            "hydra.sweeper.params say"
        )
    of_hydra = key.replace("/", ".").split(".")[0] == "hydra"
    is_open = key in OPEN or key.startswith("hydra.sweeper.params.") or is_of_launcher(override)
    if of_hydra and not is_open:
        own = ", ".join((*OPEN, "hydra/launcher", LAUNCHER))
        raise InputError(f"{line}: not in a comparison; of Hydra's own it takes {own}")


def is_of_launcher(override: Override) -> bool:
    """Whether a setting says where workers run, and nothing about what they do."""
    key = str(override.key_or_group).replace("/", ".")
    return key == LAUNCHER or key.startswith(f"{LAUNCHER}.")


def check_selection(config: Config, verdict: str) -> None:
    """Refuse to choose winners by anything but validation data, and what the loss doesn't measure.

    Args:
        verdict: the verdict's metric.
    """
    from src.training.build import build_loss

    metric, sets = config.objective.metric, config.trainer.evaluate
    directions = build_loss(config).directions()
    for key, name, allowed in (
        ("objective.metric", metric, ["val"]), ("protocol.metric", verdict, SETS),
    ):  # fmt: skip
        if part(name) not in allowed or quantity(name) not in directions:
            names = (f"{place}_{measured}" for place in allowed for measured in directions)
            raise InputError(f"{key}={name}: must be one of {', '.join(names)} here")
    configured = config.objective.direction
    direction = direction_of(metric, directions=directions)
    if configured != direction:
        raise InputError(f"objective.direction={configured}: must be {direction} for {metric}")
    if "val" not in sets or "test" in (*sets, *config.trainer.evaluate_at_end):
        raise InputError(
            f"trainer.evaluate={list(sets)} trainer.evaluate_at_end="
            f"{list(config.trainer.evaluate_at_end)}: must hold val and not test here, because "
            "searches must not see the test set"
        )


def check_method(name: str, job: DictConfig, expected: str) -> None:
    """Refuse a method that would be trained with another class than its own."""
    target = job.optimizer.get("_target_")
    if target != expected:
        raise InputError(
            f"optimizer: {name} would be {target} and not {expected}; a comparison takes each "
            "method's optimizer from sweeps/, so give only methods=[...] and the settings to change"
        )


def check_choices(composed: DictConfig) -> None:
    """Refuse data or a model without a name: a comparison's name holds both."""
    for group in ("data", "model"):
        if not isinstance(composed.hydra.runtime.choices.get(group), str):
            raise InputError(f"{group}: must be one of its choices, as {group}=NAME")


def check_searches(
    n_trials: int, configs: Mapping[str, DictConfig], given: Mapping[str, Sequence[Override]]
) -> dict[str, Space]:
    """Refuse what the sweeps would refuse, and budgets that would be unequal.

    Returns:
        Each method's search space.

    Args:
        n_trials: of each search.
        configs: each method's, `hydra` included.
        given: overrides of each method, which its search doesn't vary.
    """
    import optuna

    from src.sweeping.samplers import grid_size
    from src.sweeping.study import inside

    trials, spaces = {}, {}
    for name, composed in configs.items():
        config = parse(job_config(composed))
        spaces[name] = space = search_space(name, composed, given[name])
        sampled_from = distributions(space)
        points = grid_size(config.sampler, sampled_from)
        build("pruner", config.pruner, optuna.pruners.BasePruner)
        values = {key: OmegaConf.select(composed, key) for key in space}
        default = {key: space[key].stored(value) for key, value in values.items()}
        most = n_trials if points is None else points + inside(default, sampled_from)
        trials[name] = min(n_trials, most)
    if len({*trials.values()}) > 1:
        raise InputError(
            f"sampler.points={config.sampler['points']}: the grids end after unequal numbers of "
            f"trials, {trials}; lower protocol.n_trials to {min(trials.values())}, or take more "
            "points"
        )
    return spaces


def sampled(space: Space) -> Iterator[dict[str, Any]]:
    """Points of a search space, as values of the config; always the same points."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(POINTS):
        params = study.ask(distributions(space)).params
        yield {key: space[key].value(stored) for key, stored in params.items()}


def distributions(space: Space) -> dict[str, Any]:
    return {key: dimension.distribution for key, dimension in space.items()}


def search_space(name: str, composed: DictConfig, given: Sequence[Override]) -> Space:
    """The search space of a method.

    Raises:
        InputError: the space can't be read or is empty, or a setting of the sweeper is wrong.
    """
    from src.sweeping.space import fixed_lines, read_space
    from src.sweeping.storage import absolute, refuse_password

    sweeper = composed.hydra.sweeper
    try:
        Sweeper.model_validate({key: sweeper.get(key) for key in Sweeper.model_fields})
    except ValidationError as error:
        raise InputError(f"hydra.sweeper.{first_error(error)}") from error
    refuse_password(absolute(sweeper.storage))
    params = sweeper.get("params")
    for line in fixed_lines(params, []):  # the runs on fresh seeds wouldn't get it
        raise InputError(f"hydra.sweeper.params: {line}: must be a range or choices")
    space = read_space(job_config(composed), params, given)
    if not space:
        keys = ", ".join(override.key_or_group for override in given)
        reason = f"{name}: there is nothing left to search"
        raise InputError(f"{reason}; {keys} given" if keys else reason)
    return space
