"""Going on with a run, by the config of its folder and no other."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from src.config import CONF, Config, parse
from src.errors import InputError
from src.overrides import override, parsed
from src.results.folder import load_config, load_json
from src.results.identity import CHANGEABLE, another_length
from src.results.status import ENDED, Status


def prepare(config: DictConfig) -> None:
    """Turn a composed config with `resume` into that of the run to go on with.

    Raises:
        InputError: the folder holds no run, or an override would make it another one.
        SystemExit: with status 0, for a run that is complete.
    """
    folder = Path(str(config.resume)).absolute()
    kept, changes = load_config(folder), _changes(config)
    recorded = parse(OmegaConf.create({**kept, "resume": None}))
    epochs = _epochs(recorded, changes)
    _stop_if_complete(folder, epochs)
    if recorded.trial is not None:
        raise InputError(
            f"{folder} is trial {recorded.trial} of a sweep: starting the sweep again goes on with "
            f"the study, python -m src.replay repeats the trial"
        )
    if "logger" in changes:
        kept["logger"] = OmegaConf.to_container(config.get("logger") or OmegaConf.create())
    else:
        _check_logger(folder, recorded.logger)
    kept["resume"] = str(folder)
    with read_write(config), open_dict(config):
        for key in [key for key in config if key != "hydra"]:
            del config[key]
        config.merge_with(kept)
        for key in CHANGEABLE[:-1]:
            if key in changes:
                OmegaConf.update(config, key, changes[key])
        config.hydra.run.dir = str(folder)
        config.hydra.output_subdir = None  # the first start's snapshot stays


def _epochs(recorded: Config, changes: Mapping[str, Any]) -> int:
    """The epochs to train in all, which lengthen the run or leave it as it is."""
    epochs = changes.get("trainer.epochs", recorded.trainer.epochs)
    if reason := another_length(recorded, epochs):
        raise InputError(reason)
    assert isinstance(epochs, int)
    return epochs


def _changes(config: DictConfig) -> dict[str, Any]:
    """The overrides beside `resume`, which may not make another run of it."""
    lines = [*config.hydra.overrides.task, *config.hydra.overrides.hydra]
    changes = {}
    for given in parsed(lines):
        key = given.key_or_group
        if key == "resume":
            continue
        if key not in CHANGEABLE and not key.startswith("logger."):
            raise InputError(
                f"{given.input_line}: a resumed run keeps its own config and folder; only "
                f"{', '.join(CHANGEABLE)} can be given with it"
            )
        changes["logger" if key.startswith("logger") else key] = given.value()
    return changes


def _check_logger(folder: Path, logger: Mapping[str, Mapping[str, Any]]) -> None:
    """Let nobody's config choose where this machine's rows are sent or written.

    Raises:
        InputError: MLflow's address is not this project's, and the command line doesn't give it.
    """
    usual = OmegaConf.load(CONF / "logger" / "mlflow.yaml").mlflow.tracking_uri
    for name, settings in logger.items():
        address = settings.get("tracking_uri", usual)
        if address != usual:
            agreed = override("logger", [name]), override(f"logger.{name}.tracking_uri", address)
            raise InputError(
                f"{folder}: config.yaml logs to {address}; to go on doing so, say "
                f"{shlex.join(agreed)}, or logger=none"
            )


def _stop_if_complete(folder: Path, epochs: int) -> None:
    result = load_json(folder, "result.json") or {}
    status, final = result.get("status"), result.get("final")
    trained = final.get("epoch") if isinstance(final, dict) else None
    lengthened = isinstance(trained, int) and epochs > trained
    if status not in ENDED or (status == Status.COMPLETED and lengthened):
        return
    print(f"{folder} is complete ({status}): nothing to do")
    raise SystemExit(0)
