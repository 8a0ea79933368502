"""How configs are composed: resolvers, where files are, and which choices go together."""

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

from src import config as paths
from src.config import job_config
from src.errors import InputError
from src.explaining import beside, commented, explained
from src.metrics import direction_of
from src.once import read_texts_once

SCHEME = "fairstep"  # of the source below, among Hydra's file:// and pkg://


def register() -> None:
    """Make resolvers and the configs outside `conf/` known to Hydra, from any directory.

    `${outputs:}` is where everything is kept, `${run_name:}` and `${study_name:}` name what is
    trained and searched, `${one_minus:x}` turns a searched 1-beta into beta, `${better:metric}` is
    the direction of a metric; `${explained:}` and `${explained_search:}` are for `--help`.
    """
    read_texts_once()
    OmegaConf.register_resolver("outputs", lambda: str(paths.OUTPUTS), replace=True)
    OmegaConf.register_resolver("run_name", _run_name, replace=True)
    OmegaConf.register_resolver("study_name", _study_name, replace=True)
    OmegaConf.register_resolver("one_minus", lambda value: 1 - value, replace=True)
    OmegaConf.register_resolver(
        "better", lambda metric: str(direction_of(str(metric))), replace=True
    )
    OmegaConf.register_resolver("explained", _explained, replace=True)
    OmegaConf.register_resolver("explained_search", _explained_search, replace=True)
    SourcesRegistry.instance().register(Beside)
    Plugins.instance().register(SearchPath)


def _run_name(*, _root_: DictConfig) -> str:
    chosen = problem_name(_root_, ("data",))
    return slug(f"{_optimizer_name(_root_)}-{chosen}")


def _study_name(*, _root_: DictConfig) -> str:
    """A file of sweeps/ may search another optimizer than its own, chosen beside it."""
    choices, optimizer = _root_.hydra.runtime.choices, _optimizer_name(_root_)
    sweep = choices.get("sweeps") or optimizer
    method = sweep if sweep.startswith(optimizer) else f"{sweep}-{optimizer}"
    return slug(f"{method}-{problem_name(_root_)}")


def problem_name(root: DictConfig, plain: tuple[str, ...] = ("data", "model")) -> str:
    """The name of what is trained, for folders: the problem, or the data and the model.

    What the command line chooses in place of the problem's own is added, and so is another loss
    than the usual one.

    Args:
        root: composed, its `hydra` node included.
        plain: groups that make the name where there is no problem.
    """
    choices = root.hydra.runtime.choices
    problem = choices.get("problem")
    usual = _overridden(find(root, "problem", problem).get("defaults", [])) if problem else {}
    usual = {"loss": "cross_entropy", **usual}
    parts = [problem] if problem else [str(choices.get(group)) for group in plain]
    told = ("data", "model", "loss") if problem else ("loss",)
    parts += [str(choices.get(group)) for group in told if choices.get(group) != usual.get(group)]
    return "-".join(parts)


def _optimizer_name(root: DictConfig) -> str:
    """The chosen optimizer's; if none is chosen, that of the file of sweeps/ or of the class."""
    choices = root.hydra.runtime.choices
    choice = choices.get("optimizer") or choices.get("sweeps")
    return str(choice or OmegaConf.select(root, "optimizer._target_"))


def slug(name: str) -> str:
    """A name, which may have a folder (`torch/adam`), as a part of a file's or a study's name."""
    return name.replace("/", "-")


def _explained(*, _root_: DictConfig) -> str:
    """The config that is composed, each key with the comment of its file."""
    runtime, primary = _root_.hydra.runtime, paths.CONF / "config.yaml"
    files = [("", primary)]
    folders = [Path(each.path) for each in runtime.config_sources if each.schema == "file"]
    for group, choice in runtime.choices.items():
        there = (folder / group / f"{choice}.yaml" for folder in folders)
        files += [(group, file) for file in there if os.path.isfile(file)][:1]
    lines = explained(job_config(_root_), files)
    for key, _, text in commented(primary):  # groups that have no key of their own
        group = key.removeprefix("defaults.")
        if key != group and group not in _root_:
            lines += "\n" + beside(f"{group}: {runtime.choices.get(group) or 'null'}", text)
    return _for_template(lines)


def _explained_search(*, _root_: DictConfig) -> str:
    """The settings of a search, by the names that the command line has for them."""
    short, lines = {key: name for name, key in _root_.hydra.aliases.items()}, []
    for key, value, text in commented(paths.CONF / "hydra" / "sweeper" / "study.yaml"):
        name = short.get(f"hydra.sweeper.{key}", f"hydra.sweeper.{key}")
        lines.append(beside(f"{name}: {value}", text))
    return _for_template("\n".join(lines))


def _for_template(text: str) -> str:
    """Hydra's help is a string.Template."""
    return text.replace("$", "$$")


class Beside(FileConfigSource):
    """`sweeps=NAME` is sweeps/NAME.yaml, `experiment=STUDY/best` the best.yaml of that study.

    Files are looked up when they are asked for: there may be thousands of studies.
    """

    @staticmethod
    def scheme() -> str:
        return SCHEME

    def load_config(self, config_path: str) -> ConfigResult:
        file = file_of(config_path)
        try:
            return super().load_config(str(file))
        except (OSError, ValueError, YAMLError) as error:
            raise InputError(f"{file}: {' '.join(str(error).split())}") from error

    def is_config(self, config_path: str) -> bool:
        file = file_of(config_path.removesuffix(".yaml"))
        return os.path.isfile(file)  # for any name, however long

    def is_group(self, config_path: str) -> bool:
        group = config_path.strip("/")
        folder = file_of(group).with_suffix("")
        return group in ("", "sweeps", "experiment") or os.path.isdir(folder)

    def list(self, config_path: str, results_filter: ObjectType | None) -> builtins.list[str]:
        """Groups, or a group's choices; a study is the choice `STUDY/best`."""
        group = config_path.strip("/")
        if not group:
            return [] if results_filter is ObjectType.CONFIG else ["experiment", "sweeps"]
        if group.partition("/")[0] == "sweeps":
            files = FileConfigSource(self.provider, f"file://{paths.PROJECT}")
            return files.list(group, results_filter)
        if results_filter is ObjectType.GROUP:
            return []
        kept = (paths.OUTPUTS / "sweeps").glob("*/best.yaml")
        return sorted(f"{path.parent.name}/best" for path in kept)


def file_of(config_path: str) -> Path:
    """The file of a config; a name that can't be a config's gets a file that isn't there."""
    group, _, name = config_path.strip("/").partition("/")
    study, _, kind = name.partition("/")
    if group == "sweeps" and name and ".." not in name.split("/"):
        return paths.PROJECT / "sweeps" / f"{name}.yaml"
    if group == "experiment" and kind == "best" and study != "..":
        return paths.OUTPUTS / "sweeps" / study / "best.yaml"
    return paths.PROJECT / "sweeps" / "no such config"


class SearchPath(SearchPathPlugin):
    """Adds that source to Hydra's: behind conf/, before the folders of the command line."""

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
        said = find(config, kind, chosen.get(kind))
        defaults = said.pop("defaults", [])
        expected = _overridden(defaults)
        for group in (*_whole(said), *_placed(defaults)):
            if group in chosen and chosen[group] != expected.get(group):
                raise InputError(
                    f"{group}={chosen[group]}: {kind}={chosen[kind]} says itself what the {group} "
                    f"is; give values beside it ({group}.KEY=VALUE), or leave {kind}= out"
                )


def _whole(nodes: dict[str, Any]) -> list[str]:
    """The groups that a file describes whole: with a class or a name."""
    dicts = {group: node for group, node in nodes.items() if isinstance(node, dict)}
    return [group for group, node in dicts.items() if "_target_" in node or "name" in node]


def _placed(defaults: list[Any]) -> list[str]:
    """The groups for which a defaults list names a file, as `/optimizer/torch/adam@optimizer`."""
    return [item.partition("@")[2] for item in defaults if isinstance(item, str)]


def _overridden(defaults: list[Any]) -> dict[str, str | None]:
    """The groups that a defaults list chooses for."""
    items = [item for each in defaults if isinstance(each, dict) for item in each.items()]
    return {str(key).removeprefix("override /"): choice for key, choice in items}


def chosen_by_sweep(config: DictConfig, name: str) -> dict[str, str | None]:
    """The groups that a file of sweeps/ chooses for, itself or through another that it names."""
    defaults = find(config, "sweeps", name).get("defaults", [])
    others = [item for item in defaults if isinstance(item, str) and item.startswith("/sweeps/")]
    chosen: dict[str, str | None] = {}
    for other in others:
        chosen |= chosen_by_sweep(config, other.removeprefix("/sweeps/"))
    return chosen | _overridden(defaults)


def find(config: DictConfig, group: str, name: str | None) -> dict[str, Any]:
    """The content of a group's file, not composed; empty if there is no such file.

    Raises:
        InputError: there are two, of which Hydra takes the first.
    """
    if not isinstance(name, str):
        return {}
    beside = file_of(f"{group}/{name}")
    files = [
        beside if source.schema == SCHEME else Path(source.path, group, f"{name}.yaml")
        for source in config.hydra.runtime.config_sources
        if source.schema in (SCHEME, "file")
    ]
    # A folder may be named twice.
    matches = list(dict.fromkeys(file.resolve() for file in files if os.path.isfile(file)))
    if len(matches) > 1:
        raise InputError(
            f"{group}={name}: there are two, {matches[0]} and {matches[1]}; rename yours"
        )
    if matches:
        return _plain(OmegaConf.load(matches[0]))
    try:
        return _plain(ConfigStore.instance().load(f"{group}/{name}.yaml").node)
    except ConfigLoadError:
        return {}


def _plain(loaded: Any) -> dict[str, Any]:
    values = OmegaConf.to_container(loaded)
    return {str(key): value for key, value in values.items()} if isinstance(values, dict) else {}
