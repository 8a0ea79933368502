"""The config of a study's trials, which differ in a few values."""

import copy
from collections.abc import Iterable, Mapping
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
        every = plain(self.cfg, resolve=False)
        self.names: list[str] = [*every]
        self.same = {name: value for name, value in every.items()
                     if name not in sections and "${" not in repr(value)}  # fmt: skip
        self.texts = {name: to_yaml({name: value}) for name, value in self.same.items()}

    def fill(self, values: Mapping[str, Any]) -> tuple[Config, str, str]:
        """The config with these values, one for each of the keys.

        Returns:
            It, checked, and as YAML before and after interpolation.

        Raises:
            InputError: a value is refused.
        """
        for name, value in values.items():
            OmegaConf.update(self.cfg, name, value, force_add=True)
        names = [name for name in self.names if name not in self.same]
        composed = {name: self._plain(name) for name in names}
        whole = {name: self._plain(name, resolve=True) for name in names}
        config = check({**copy.deepcopy(self.same), **whole})  # whose lists a class may change
        return config, self._yaml(composed), self._yaml(whole)

    def _plain(self, name: str, *, resolve: bool = False) -> Any:
        """A section as a plain value."""
        node: Any = self.cfg._get_node(name)
        if OmegaConf.is_config(node):
            return plain(node, resolve=resolve)
        return self.cfg[name] if resolve else node._value()

    def _yaml(self, other: Mapping[str, Any]) -> str:
        return "".join(self.texts.get(name) or to_yaml({name: other[name]}) for name in self.names)


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
