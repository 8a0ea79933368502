"""Going on with a run: its own config, from its folder, and nothing else."""

import json
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from src.errors import InputError
from src.files import inside

ENDED = ("completed", "early_stopped", "diverged", "pruned")
CHANGEABLE = ("trainer.epochs", "trainer.checkpoint_every", "logger")


def load_config(folder: Path) -> dict[str, Any]:
    """The resolved config of a run's folder.

    Raises:
        InputError: there is none, it is damaged, or it isn't resolved: an interpolation in a file
            from somebody else could read this machine's environment.
    """
    try:
        loaded = OmegaConf.load(inside(folder, "config.yaml"))
    except FileNotFoundError as error:
        raise InputError(f"{folder}: no run is there (it has no config.yaml)") from error
    except (OSError, ValueError, YAMLError, OmegaConfBaseException) as error:
        raise InputError(f"{folder}: config.yaml: {' '.join(str(error).split())}") from error
    config = OmegaConf.to_container(loaded, resolve=False)
    if not isinstance(config, dict):
        raise InputError(f"{folder}: config.yaml is not a config")
    if "${" in json.dumps(config):
        raise InputError(f"{folder}: config.yaml holds an interpolation; a run's is resolved")
    return {str(key): value for key, value in config.items()}


def load_result(folder: Path) -> dict[str, Any] | None:
    """What result.json holds; None before the run has ended for the first time."""
    try:
        result = json.loads(inside(folder, "result.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise InputError(f"{folder}: result.json: {error}") from error
    if not isinstance(result, dict):
        raise InputError(f"{folder}: result.json is not a result")
    return result


def prepare(config: DictConfig) -> None:
    """Turn a composed config with `resume` into that of the run to go on with.

    Raises:
        InputError: the folder holds no run, or an override would make it another one.
        SystemExit: with status 0, for a run that is complete.
    """
    folder = Path(config.resume).absolute()
    own, changes = load_config(folder), _changes(config)
    old = own["trainer"]["epochs"]
    epochs = changes.get("trainer.epochs", old)
    if type(epochs) is not int or epochs < old:
        raise InputError(f"trainer.epochs={epochs}: a resumed run can only grow from its {old}")
    target = own["scheduler"]["_target_"].split(".")[-1]
    if epochs > old and target not in ("Constant", "Step"):
        raise InputError(
            f"trainer.epochs={epochs}: the {target} schedule of this run depends on its length "
            f"({old} epochs), so a longer one is another run"
        )
    _stop_if_complete(folder, lengthened=epochs > old)
    logger = OmegaConf.to_container(config.logger) if "logger" in changes else own["logger"]
    with read_write(config), open_dict(config):
        for key in [key for key in config if key != "hydra"]:
            del config[key]
        config.merge_with(own)
        config.resume, config.logger, config.trial = str(folder), logger, None
        for key in ("trainer.epochs", "trainer.checkpoint_every"):
            if key in changes:
                OmegaConf.update(config, key, changes[key])
        config.hydra.run.dir = str(folder)
        config.hydra.output_subdir = None  # the first start's snapshot stays


def _changes(config: DictConfig) -> dict[str, Any]:
    """The overrides beside `resume`, all of which must be harmless."""
    lines = [*config.hydra.overrides.task]
    overrides = OverridesParser.create().parse_overrides(lines)
    changes = {override.key_or_group: override.value() for override in overrides}
    del changes["resume"]
    for override in overrides:
        key = override.key_or_group
        if key != "resume" and key not in CHANGEABLE and not key.startswith("logger."):
            raise InputError(
                f"{override.input_line}: a resumed run keeps its own config; only "
                f"{', '.join(CHANGEABLE)} can be given with it"
            )
    given = [line for line in config.hydra.overrides.hydra if "hydra.run.dir" in line]
    if given:
        raise InputError(f"{given[0]}: a resumed run stays in its folder")
    return changes


def _stop_if_complete(folder: Path, *, lengthened: bool) -> None:
    result = load_result(folder)
    if result is None or result.get("status") not in ENDED:
        return
    if result["status"] == "completed" and lengthened:
        return
    print(f"{folder} is complete ({result['status']}): nothing to do")
    raise SystemExit(0)
