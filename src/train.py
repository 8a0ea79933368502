"""Entry point: `python -m src.train optimizer=adam` composes a config and trains."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import cast

import hydra
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.conf import HydraConf
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from src.cli import one_line_errors
from src.config import ALLOWED_TARGETS, CONF, job_config, parse, register
from src.errors import InputError
from src.overrides import again, command, given_overrides, override, search_path

register()


@hydra.main(config_path=str(CONF), config_name="config", execution_whitelist=ALLOWED_TARGETS)
def job(cfg: DictConfig) -> float:
    """One run; returns the objective's value."""
    from src.run import run, snapshot  # torch takes seconds to import

    cfg, hydra_config = job_config(cfg), HydraConfig.get()
    folder = Path(hydra_config.runtime.output_dir)
    config = parse(cfg)
    should_prune = None
    if config.trial is not None:
        from src.sweeping.report import TrialReport

        should_prune = TrialReport(hydra_config.sweeper, config, folder).should_prune
    cfg.resume = None  # the snapshot is of the run, however often it was taken up
    try:
        result = run(config, snapshot(cfg), folder, should_prune)
    except InputError as error:
        if config.trial is not None:
            raise  # the sweep goes on
        raise SystemExit(1) from error  # Hydra would add lines of its own
    except KeyboardInterrupt:
        if config.trial is None:
            for line in going_on(folder, hydra_config):
                print(line, file=sys.stderr)
        raise
    objective = result["objective"]
    if should_prune is not None:  # the sweep reports its trials
        return float(objective["value"])
    print(f"{result['status']}: {objective['metric']} {objective['value']}")
    print(f"result: {folder}")
    value: float = objective["value"]
    return value


def going_on(folder: Path, hydra_config: HydraConf) -> list[str]:
    """Commands that do what an interrupted run, or the multirun that it is of, has left undone."""
    number = OmegaConf.select(cast(DictConfig, hydra_config), "job.num")
    begun = (folder / "config.yaml").is_file()
    lines = [f"interrupted; this goes on: {command(override('resume', str(folder)))}"] * begun
    if number is None:
        return lines or [f"interrupted; this begins anew: {again()}"]
    if hydra_config.sweeper._target_.endswith(".BasicSweeper"):
        own = [
            item for item in given_overrides() if not item.key_or_group.startswith("hydra.sweep")
        ]
        jobs = BasicSweeper.split_arguments(own, None)[0]
        left = jobs[number + begun :]
        lines += [f"not begun: {command(*search_path(), *job)}" for job in left]
    return lines


def main() -> None:
    with one_line_errors():
        job()


if __name__ == "__main__":
    main()
