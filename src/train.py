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
from src.composing import register
from src.config import CONF, job_config, parse
from src.errors import InputError
from src.overrides import again, command, given_overrides, override, search_path
from src.targets import ALLOWED_TARGETS

register()


@hydra.main(config_path=str(CONF), config_name="config", execution_whitelist=ALLOWED_TARGETS)
def job(cfg: DictConfig) -> float:
    """One run; returns the objective's value. A sweep runs its trials itself."""
    from src.training.run import run, snapshot  # torch takes seconds to import

    cfg, hydra_config = job_config(cfg), HydraConfig.get()
    folder = Path(hydra_config.runtime.output_dir)
    config = parse(cfg)
    cfg.resume = None  # the snapshot is of the run, however often it was taken up
    try:
        result = run(config, snapshot(cfg), folder)
    except InputError as error:
        raise SystemExit(1) from error  # Hydra would add lines of its own
    except KeyboardInterrupt:
        for line in going_on(folder, hydra_config):
            print(line, file=sys.stderr)
        raise
    objective = result["objective"]
    print(f"{result['status']}: {objective['metric']} {objective['value']}")
    print(f"result: {folder}")
    return float(objective["value"])


def going_on(folder: Path, hydra_config: HydraConf) -> list[str]:
    """Commands that finish an interrupted run and the multirun that it belongs to."""
    number = OmegaConf.select(cast(DictConfig, hydra_config), "job.num")
    begun = (folder / "config.yaml").is_file()
    lines = [f"interrupted; this goes on: {command(override('resume', str(folder)))}"] * begun
    if number is None:
        return lines or [f"interrupted; this begins anew: {again()}"]
    if hydra_config.sweeper._target_.endswith(".BasicSweeper"):
        given = [
            item for item in given_overrides() if not item.key_or_group.startswith("hydra.sweep")
        ]
        jobs = BasicSweeper.split_arguments(given, None)[0]
        left = jobs[number + begun :]
        lines += [f"not begun: {command(*search_path(), *job)}" for job in left]
    return lines


def main() -> None:
    with one_line_errors():
        job()


if __name__ == "__main__":
    main()
