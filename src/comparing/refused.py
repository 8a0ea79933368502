"""What a comparison refuses before anything is made: what it sets itself, and what can't work."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf
from pydantic import Field, ValidationError

from src.config import Config, Section, first_error, job_config, parse
from src.errors import InputError
from src.metrics import direction_of
from src.targets import build

# What a comparison sets itself, and where it takes it from.
RESERVED = {
    "n_trials": "protocol.n_trials",
    "n_jobs": "protocol.n_jobs",
    "study": "protocol.name",
    "seed": "protocol.first_seed",
    "sweeps": "methods",
    "hydra.sweeper.n_trials": "protocol.n_trials",
    "hydra.sweeper.n_jobs": "protocol.n_jobs",
    "hydra.sweeper.study_name": "protocol.name",
    **dict.fromkeys(("trial", "resume"), ""),
}
# What it takes of Hydra's own settings; the others would change nothing, or where things lie.
OPEN = ("hydra.searchpath", *(f"hydra.sweeper.{key}" for key in
        ("params", "storage", "max_failures", "lease_seconds")))  # fmt: skip


Space = dict[str, Any]  # dimensions by key, as src.sweeping.space reads them
POINTS = 8  # of a space that are tried before it is searched


class Sweeper(Section):
    """What a comparison takes of `hydra.sweeper`; the rest it sets itself."""

    storage: str
    max_failures: Annotated[int, Field(ge=1)]
    lease_seconds: Annotated[int, Field(ge=6)]


def check_override(override: Override) -> None:
    """Refuse what a comparison sets itself, and what has no effect in one."""
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
    if of_hydra and key not in OPEN and not key.startswith("hydra.sweeper.params."):
        raise InputError(f"{line}: not in a comparison; of Hydra's own it takes {', '.join(OPEN)}")


def check_selection(config: Config) -> None:
    """Winners are chosen by validation data; the test set is for the end."""
    metric, sets = config.objective.metric, config.trainer.evaluate
    if not metric.startswith("val_"):
        raise InputError(f"objective.metric={metric}: must be val_loss or val_accuracy here")
    given = config.objective.direction
    direction = direction_of(metric, otherwise=given)
    if given != direction:
        raise InputError(f"objective.direction={given}: must be {direction} for {metric}")
    if "val" not in sets or "test" in (*sets, *config.trainer.evaluate_at_end):
        raise InputError(
            f"trainer.evaluate={list(sets)} trainer.evaluate_at_end="
            f"{list(config.trainer.evaluate_at_end)}: must hold val and not test here, because "
            "searches must not see the test set"
        )


def check_method(name: str, job: DictConfig, own: str) -> None:
    """Every method is trained with its own class."""
    target = job.optimizer.get("_target_")
    if target != own:
        raise InputError(
            f"optimizer: {name} would be {target} and not {own}; a comparison takes each method's "
            "optimizer from sweeps/, so give only methods=[...] and the settings to change"
        )


def check_choices(composed: DictConfig) -> None:
    """A comparison is named by its data and its model."""
    for group in ("data", "model"):
        if not isinstance(composed.hydra.runtime.choices.get(group), str):
            raise InputError(f"{group}: must be one of its choices, as {group}=NAME")


def check_searches(
    n_trials: int, configs: Mapping[str, DictConfig], given: Sequence[Override]
) -> dict[str, Space]:
    """Refuse what the sweeps would refuse, and budgets that can't be equal.

    Returns:
        Each method's search space.

    Args:
        n_trials: of each search.
        configs: each method's, `hydra` included.
        given: what every run is told on the command line, which no search then varies.
    """
    import optuna

    from src.sweeping.samplers import grid_size
    from src.sweeping.study import inside

    trials, spaces = {}, {}
    for name, composed in configs.items():
        config = parse(job_config(composed))
        spaces[name] = space = search_space(name, composed, given)
        sampled_from = distributions(space)
        points = grid_size(config.sampler, sampled_from)
        build("pruner", config.pruner, optuna.pruners.BasePruner)
        default = {key: one.stored(OmegaConf.select(composed, key)) for key, one in space.items()}
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
    """Points of a search space, as values of the config; always the same."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(POINTS):
        params = study.ask(distributions(space)).params
        yield {key: space[key].value(stored) for key, stored in params.items()}


def distributions(space: Space) -> dict[str, Any]:
    return {key: one.distribution for key, one in space.items()}


def search_space(name: str, composed: DictConfig, given: Sequence[Override]) -> Space:
    """What a method's search searches.

    Raises:
        InputError: it can't be read, there is nothing, or a setting of the sweeper is wrong.
    """
    from src.sweeping.space import fixed_lines, read_space
    from src.sweeping.storage import absolute

    sweeper = composed.hydra.sweeper
    try:
        Sweeper.model_validate({key: sweeper.get(key) for key in Sweeper.model_fields})
    except ValidationError as error:
        raise InputError(f"hydra.sweeper.{first_error(error)}") from error
    absolute(sweeper.storage)
    params = sweeper.get("params")
    for line in fixed_lines(params, []):  # the runs on fresh seeds wouldn't know of it
        raise InputError(f"hydra.sweeper.params: {line}: must be a range or choices")
    space = read_space(job_config(composed), params, given)
    if not space:
        keys = ", ".join(one.key_or_group for one in given)
        reason = f"{name}: there is nothing left to search"
        raise InputError(f"{reason}; {keys} given" if keys else reason)
    return space
