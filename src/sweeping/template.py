"""The config of a study's trials, which differ in a few values."""

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf._utils import get_omega_conf_dumper

from src.config import Config, check, plain


class Template:
    """Makes the config of one trial after another.

    To compose it anew, to copy it, or to resolve and write all of it anew would be most of a
    trial's cost beside its training; most of its sections are the same in every trial.

    Args:
        job: a composed config without its `hydra` node, which has been checked.
        keys: those whose values differ.
    """

    def __init__(self, job: DictConfig, keys: Iterable[str]) -> None:
        self.cfg, sections = copy.deepcopy(job), {key.partition(".")[0] for key in keys}
        for name in sections - {*self.cfg}:
            OmegaConf.update(self.cfg, name, {}, force_add=True)
        self.names: list[str] = [*plain(self.cfg, resolve=False)]
        self.job = copy.deepcopy(self.cfg)
        self.given: dict[str, str] = {}  # of a section, the letters of its values
        self.made: dict[str, _Section] = {}  # those that follow from what they hold

    def fill(self, values: Mapping[str, Any]) -> tuple[Config, str, str]:
        """The config with these values, one for each of the keys.

        Returns:
            It, checked, and as YAML before and after interpolation.

        Raises:
            InputError: a value is refused.
        """
        self._give(values)
        made = [self._section(name) for name in self.names]
        whole = {each.name: each.whole for each in made}
        config = check(copy.deepcopy(whole))  # whose lists a class may change
        composed, resolved = zip(*[(each.composed, each.resolved) for each in made], strict=True)
        return config, "".join(composed), "".join(resolved)

    def _give(self, values: Mapping[str, Any]) -> None:
        """Set the values of the sections in which one differs from the last."""
        sections: dict[str, dict[str, Any]] = {}
        for key, value in values.items():
            sections.setdefault(key.partition(".")[0], {})[key] = value
        for name, of_it in sections.items():
            if self.given.get(name) == repr(of_it):
                continue
            self.given.pop(name, None)
            self.made.pop(name, None)
            # Anew: a value may lie within another, and what is set is merged with what is there.
            self.cfg[name] = copy.deepcopy(self.job._get_node(name))
            for key, value in of_it.items():
                OmegaConf.update(self.cfg, key, value, force_add=True)
            self.given[name] = repr(of_it)

    def _section(self, name: str) -> "_Section":
        if name in self.made:
            return self.made[name]
        composed, whole = self._plain(name), self._plain(name, resolve=True)
        text = to_yaml({name: composed})
        if "${" in text:  # it follows from others' values, too
            return _Section(name, whole, text, to_yaml({name: whole}))
        self.made[name] = _Section(name, whole, text, text)
        return self.made[name]

    def _plain(self, name: str, *, resolve: bool = False) -> Any:
        """A section as a plain value."""
        node: Any = self.cfg._get_node(name)
        if OmegaConf.is_config(node):
            return plain(node, resolve=resolve)
        return self.cfg[name] if resolve else node._value()


@dataclass(frozen=True)
class _Section:
    """A section of a config: its value, and as YAML before and after interpolation."""

    name: str
    whole: Any
    composed: str
    resolved: str


def to_yaml(value: Any) -> str:
    """What `OmegaConf.to_yaml` writes of a plain value."""
    text: str = yaml.dump(
        value,
        default_flow_style=False,
        allow_unicode=True,
        sort_keys=False,
        Dumper=get_omega_conf_dumper(),
    )
    return text
