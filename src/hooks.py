"""Hydra's callback: what is checked before a run or a sweep has a folder."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf, read_write

from src.composing import check_choices, find
from src.config import job_config, parse
from src.errors import InputError
from src.launching import local  # noqa: F401, registers it
from src.launching.choices import LOCAL, kind_of
from src.overrides import command, override, parsed, search_path
from src.results import claim
from src.resuming import prepare


class Check(Callback):
    """Tries everything before Hydra makes a folder, so that bad input leaves nothing.

    Hydra turns a callback's exceptions into warnings, so a mistake leaves as SystemExit with the
    InputError as its cause; the entry point says it in one line.
    """

    def __init__(self) -> None:
        self.plan: list[list[str]] | None = None  # of a plain multirun that has begun

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        with _leaving():
            if config.get("resume") is not None:
                prepare(config)
                _check(config)
                return
            check_choices(config)
            _refuse_launcher(config)
            _refuse_search(config)
            _check(config)
            _claim(config, "run")

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        import src.sweeping.sweeper  # noqa: F401, registers it before Hydra looks for it

        with _leaving():
            if config.get("resume") is not None:
                raise InputError("resume: not with -m; a sweep goes on when it is started again")
            check_choices(config)
            _refuse_environment(config)
            _refuse_hidden_launcher(config)
            sweeper = OmegaConf.select(config, "hydra.sweeper._target_")
            if not str(sweeper).endswith(".StudySweeper"):
                _refuse_searches(config)
                _claim(config, "sweep")
                self.plan = _planned(config)
                if kind_of(config) != LOCAL:
                    from src.launching.make import cancel_at_exit

                    cancel_at_exit(config)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        if self.plan is not None:
            from src.multirun import report

            report(config, self.plan)

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        with _leaving():
            number = OmegaConf.select(config, "hydra.job.num")
            if number is not None:  # of a multirun
                of = f" ({number + 1} of {len(self.plan)})" if self.plan else ""
                overrides = " ".join(config.hydra.overrides.task)
                print(f"\n{config.hydra.sweep.subdir}{of}: {overrides}", flush=True)
                check_choices(config)
                _check(config)


@contextmanager
def _leaving() -> Iterator[None]:
    try:
        yield
    except InputError as error:
        raise SystemExit(1) from error


def _check(config: DictConfig) -> None:
    """What the schema refuses is said before torch, which takes seconds, is imported."""
    _refuse_environment(config)
    checked = parse(job_config(config))
    if checked.trial is not None:
        raise InputError(f"trial={checked.trial}: a sweep numbers its trials itself")
    from src.training.rehearsal import check

    check(checked)


def _refuse_environment(config: DictConfig) -> None:
    """A config may be from somebody else: it sets nothing that widens what is allowed."""
    for name in OmegaConf.select(config, "hydra.job.env_set", default={}):
        if str(name).startswith("FAIRSTEP_"):
            raise InputError(f"hydra.job.env_set.{name}: only the environment itself sets it")


def _refuse_hidden_launcher(config: DictConfig) -> None:
    """A file may be from somebody else: it starts nothing elsewhere, with lines for a shell."""
    kind, given = kind_of(config), config.hydra.overrides.hydra
    if kind != LOCAL and not any(line.startswith("hydra/launcher=") for line in given):
        raise InputError(f"hydra/launcher={kind}: only the command line chooses a launcher")
    for group in ("experiment", "sweeps"):
        choice = config.hydra.runtime.choices.get(group)
        if "launcher" in (find(config, group, choice).get("hydra") or {}):
            raise InputError(f"{group}={choice}: sets hydra.launcher; only the command line does")


def _refuse_launcher(config: DictConfig) -> None:
    """Refuse a launcher of workers without -m: there is nothing to launch."""
    choice = config.hydra.runtime.choices.get("hydra/launcher")
    if kind_of(config) != LOCAL:
        raise InputError(f"hydra/launcher={choice}: nothing is launched without -m; add it")


def _refuse_search(config: DictConfig) -> None:
    """Refuse a file of sweeps/ without -m, unless the command line sets all that it searches."""
    name = config.hydra.runtime.choices.get("sweeps")
    if name is None:
        return
    from src.sweeping.space import read_space

    given = parsed(config.hydra.overrides.task)
    if read_space(job_config(config), config.hydra.sweeper.params, given):
        raise InputError(f"sweeps={name}: nothing is searched without -m; add it, or leave sweeps=")


def _refuse_searches(config: DictConfig) -> None:
    """Refuse what would be several studies, and jobs that would share a folder."""
    for line in config.hydra.overrides.task:
        if line.startswith("sweeps="):
            names = line.removeprefix("sweeps=")
            comparing = command(
                *search_path("config-dir"), f"methods=[{names}]", module="src.compare"
            )
            raise InputError(
                f"{line}: one study per method: start one after another, or compare: {comparing}"
            )
    sweep = OmegaConf.to_container(config.hydra.sweep, resolve=False)
    subdir = sweep["subdir"]  # type: ignore[index, call-overload]
    if "hydra.job.num" not in str(subdir) or ".." in Path(str(subdir)).parts:
        raise InputError(
            f"hydra.sweep.subdir={subdir}: must hold ${{hydra.job.num}} and no .., so that every "
            "job has a folder of its own"
        )


def _planned(config: DictConfig) -> list[list[str]]:
    """Each job's overrides; none if only the sweeper knows them."""
    if not str(config.hydra.sweeper._target_).endswith(".BasicSweeper"):
        return []
    params = OmegaConf.select(config, "hydra.sweeper.params") or {}
    lines = [f"{key}={value}" for key, value in params.items()]
    try:
        overrides = parsed([*lines, *config.hydra.overrides.task])
        return BasicSweeper.split_arguments(overrides, None)[0]
    except (HydraException, ValueError):  # it ends the multirun; or a glob, which needs the loader
        return []


def _claim(config: DictConfig, kind: str) -> None:
    """Make the folder of a run or a multirun its own."""
    key, overrides = f"hydra.{kind}.dir", config.hydra.overrides.hydra
    given = any(item.lstrip("+").startswith(f"{key}=") for item in overrides)
    folder = claim(Path(config.hydra[kind].dir), exact=given, name=key)
    with read_write(config.hydra[kind]), read_write(config.hydra.overrides):
        config.hydra[kind].dir = str(folder)
        if kind == "sweep":  # each job is composed anew from these
            overrides.append(override(key, str(folder)))
