"""Entry point: `python -m src.train optimizer=adam` composes a config and trains."""

from __future__ import annotations

from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from src.cli import one_line_errors
from src.config import ALLOWED_TARGETS, CONF, parse, register_resolvers

register_resolvers()


@hydra.main(config_path=str(CONF), config_name="config", execution_whitelist=list(ALLOWED_TARGETS))
def job(cfg: DictConfig) -> float:
    """One run; returns the objective's value."""
    from src.run import job_config, run, snapshot  # torch takes seconds to import

    cfg, folder = job_config(cfg), Path(HydraConfig.get().runtime.output_dir)
    result = run(parse(cfg), snapshot(cfg), folder)
    objective = result["objective"]
    print(f"{result['status']}: {objective['metric']} {objective['value']}")
    print(f"result: {folder}")
    value: float = objective["value"]
    return value


def main() -> None:
    with one_line_errors():
        job()


if __name__ == "__main__":
    main()
