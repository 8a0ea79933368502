"""Entry point: `python -m src.train optimizer=adam` composes a config and trains."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from src.cli import one_line_errors
from src.config import ALLOWED_TARGETS, CONF, job_config, parse, register
from src.errors import InputError

register()


@hydra.main(config_path=str(CONF), config_name="config", execution_whitelist=ALLOWED_TARGETS)
def job(cfg: DictConfig) -> float:
    """One run; returns the objective's value."""
    from src.run import run, snapshot  # torch takes seconds to import

    cfg, hydra_config = job_config(cfg), HydraConfig.get()
    config, folder = parse(cfg), Path(hydra_config.runtime.output_dir)
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
            print(f"interrupted; this goes on: {resuming(folder)}", file=sys.stderr)
        raise
    objective = result["objective"]
    if should_prune is not None:  # the sweep reports its trials
        return float(objective["value"])
    print(f"{result['status']}: {objective['metric']} {objective['value']}")
    print(f"result: {folder}")
    value: float = objective["value"]
    return value


def resuming(folder: Path) -> str:
    """The command that takes a run up again."""
    return shlex.join(["python", "-m", "src.train", f"resume={folder}"])


def main() -> None:
    with one_line_errors():
        job()


if __name__ == "__main__":
    main()
