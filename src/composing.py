"""How configs are composed: resolvers, where files are found, and which choices go together."""

import builtins
import os
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra._internal.sources_registry import SourcesRegistry
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.core.object_type import ObjectType
from hydra.core.plugins import Plugins
from hydra.plugins.config_source import ConfigLoadError, ConfigResult
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import DictConfig, OmegaConf
from yaml import YAMLError

from src import config as places
from src.errors import InputError

SCHEME = "fairstep"  # of the source below, among Hydra's file:// and pkg://


def register() -> None:
    """Make resolvers and the configs outside `conf/` known to Hydra, from any directory.

    `${outputs:}` is where everything is kept, `${run_name:}` and `${study_name:}` name what is
    trained and searched, and `${one_minus:x}` turns a searched 1-beta into beta.
    """
    OmegaConf.register_resolver("outputs", lambda: str(places.OUTPUTS), replace=True)
    OmegaConf.register_resolver("run_name", _run_name, replace=True)
    OmegaConf.register_resolver("study_name", _study_name, replace=True)
    OmegaConf.register_resolver("one_minus", lambda value: 1 - value, replace=True)
    SourcesRegistry.instance().register(Beside)
    Plugins.instance().register(SearchPath)


def _run_name(*, _root_: DictConfig) -> str:
    choices = _root_.hydra.runtime.choices
    return _slug(f"{_optimizer_name(_root_)}-{choices.get('data')}")


def _study_name(*, _root_: DictConfig) -> str:
    """A file of sweeps/ may search another optimizer than its own, chosen beside it."""
    choices, optimizer = _root_.hydra.runtime.choices, _slug(_optimizer_name(_root_))
    sweep = choices.get("sweeps") or optimizer
    method = sweep if sweep.startswith(optimizer) else f"{sweep}-{optimizer}"
    return _slug(f"{method}-{choices.get('data')}-{choices.get('model')}")


def _optimizer_name(root: DictConfig) -> str:
    """The choice, or the class where a config says it without one."""
    choice = root.hydra.runtime.choices.get("optimizer")
    return str(choice or OmegaConf.select(root, "optimizer._target_"))


def _slug(name: str) -> str:
    return name.replace("/", "-")


class Beside(FileConfigSource):
    """`sweeps=NAME` is sweeps/NAME.yaml, `experiment=STUDY/best` the best.yaml of that study.

    Files are looked up when they are asked for: there may be thousands of studies.
    """

    @staticmethod
    def scheme() -> str:
        return SCHEME

    def load_config(self, config_path: str) -> ConfigResult:
        file = place(config_path)
        try:
            return super().load_config(str(file))
        except (OSError, ValueError, YAMLError) as error:
            raise InputError(f"{file}: {' '.join(str(error).split())}") from error

    def is_config(self, config_path: str) -> bool:
        return os.path.isfile(place(config_path.removesuffix(".yaml")))  # of any name, however long

    def is_group(self, config_path: str) -> bool:
        return config_path.strip("/") in ("", "sweeps", "experiment")

    def list(self, config_path: str, results_filter: ObjectType | None) -> builtins.list[str]:
        """Groups, or a group's choices; a study is the choice `STUDY/best`."""
        group = config_path.strip("/")
        if not group:
            return [] if results_filter is ObjectType.CONFIG else ["experiment", "sweeps"]
        if results_filter is ObjectType.GROUP:
            return []
        if group == "sweeps":
            return sorted(path.stem for path in (places.PROJECT / "sweeps").glob("*.yaml"))
        kept = (places.OUTPUTS / "sweeps").glob("*/best.yaml")
        return sorted(f"{path.parent.name}/best" for path in kept)


def place(config_path: str) -> Path:
    """The file of a config; one that isn't there, for a name that can't be one's."""
    group, _, name = config_path.strip("/").partition("/")
    study, slash, kind = name.partition("/")
    if group == "sweeps" and not slash:
        return places.PROJECT / "sweeps" / f"{name}.yaml"
    if group == "experiment" and kind == "best" and study != "..":
        return places.OUTPUTS / "sweeps" / study / "best.yaml"
    return places.PROJECT / "sweeps" / "no such config"


class SearchPath(SearchPathPlugin):
    """Adds them to where Hydra looks: behind conf/, before what the command line names."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        search_path.append(provider="fairstep", path=f"{SCHEME}://")


def check_choices(config: DictConfig) -> None:
    """An experiment that says what a group is may not stand beside another choice of the group.

    Its values would win over those of the choice that names the run.

    Args:
        config: composed, its `hydra` node included.

    Raises:
        InputError: both were chosen.
    """
    chosen = config.hydra.runtime.choices
    for kind in ("experiment", "sweeps"):
        found = find(config, kind, chosen.get(kind))
        expected = _overridden(found.pop("defaults", []))
        for group, node in found.items():
            whole = isinstance(node, dict) and ("_target_" in node or "name" in node)
            if whole and group in chosen and chosen[group] != expected.get(group):
                raise InputError(
                    f"{group}={chosen[group]}: {kind}={chosen[kind]} says itself what the {group} "
                    f"is; give values beside it ({group}.KEY=VALUE), or leave {kind}= out"
                )


def _overridden(defaults: list[Any]) -> dict[str, str | None]:
    """The groups that a defaults list chooses for."""
    items = [item for each in defaults if isinstance(each, dict) for item in each.items()]
    return {str(key).removeprefix("override /"): choice for key, choice in items}


def find(config: DictConfig, group: str, name: str | None) -> dict[str, Any]:
    """A file of a group, as it stands there; empty where there is none.

    Raises:
        InputError: there are two, of which Hydra takes the first.
    """
    if not isinstance(name, str):
        return {}
    beside = place(f"{group}/{name}")
    files = [
        beside if source.schema == SCHEME else Path(source.path, group, f"{name}.yaml")
        for source in config.hydra.runtime.config_sources
        if source.schema in (SCHEME, "file")
    ]
    # A folder may be named twice.
    found = list(dict.fromkeys(file.resolve() for file in files if os.path.isfile(file)))
    if len(found) > 1:
        raise InputError(f"{group}={name}: there are two, {found[0]} and {found[1]}; rename yours")
    if found:
        return _plain(OmegaConf.load(found[0]))
    try:
        return _plain(ConfigStore.instance().load(f"{group}/{name}.yaml").node)
    except ConfigLoadError:
        return {}


def _plain(loaded: Any) -> dict[str, Any]:
    values = OmegaConf.to_container(loaded)
    return {str(key): value for key, value in values.items()} if isinstance(values, dict) else {}
