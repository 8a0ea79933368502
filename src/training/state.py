"""What a checkpoint holds: all that training changes in a model and its optimizer."""

import inspect
from collections.abc import Mapping, Set
from functools import cache
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, NonNegativeInt
from torch import Tensor, nn
from torch.optim import Optimizer

from src.results.status import Ended
from src.training.leaves import alike, fingerprint, moved, refuse, storage, unkept
from src.training.weights import judged, switches


class State(BaseModel):
    """What a checkpoint holds; it may come from somebody else, so every part is checked."""

    model_config = ConfigDict(strict=True, extra="forbid", arbitrary_types_allowed=True)

    config: dict[str, Any] | None = None  # of the run; versions before this field wrote none
    model: dict[str, Any]  # with the weights that it is judged by
    trained: dict[str, Any] = {}  # the model with those it trains at, where they differ
    optimizer: dict[str, Any]
    parts: dict[str, dict[str, Any]] = {}
    attributes: dict[str, dict[str, Any]] = {}  # by their owner's name
    generators: dict[str, Tensor]
    position: dict[str, int | float]
    stopper: dict[str, int | float | None]
    rows: NonNegativeInt
    ended: Ended | None
    eval_seconds: float


class Pair:
    """A model and its optimizer, saved and loaded with what their state dicts leave out.

    The state dicts leave out generators; attributes, such as a counter, that have changed since
    the pair was built; buffers that aren't persistent; and the optimizer's parts that have their
    own state dict, such as an optimizer within it.

    Args:
        model: its parameters lie on one device.
        optimizer: of the model's parameters; it has taken no step.
    """

    def __init__(self, model: nn.Module, optimizer: Optimizer) -> None:
        self.model, self.optimizer = model, optimizer
        self.device = next(model.parameters(), torch.empty(0)).device
        self.owners: dict[str, Any] = {}  # of attributes
        self.saved_elsewhere: dict[int, Any] = {}  # owners and what their state dicts hold, by id
        self.parts: dict[str, Any] = {}
        self._add("model", model)
        self._add("optimizer", optimizer)
        self.initial = self._fingerprints(_storages(model, model.state_dict()))

    def _add(self, name: str, owner: Any) -> None:
        self.owners[name] = owner
        self.saved_elsewhere[id(owner)] = owner
        if isinstance(owner, Optimizer):
            for container in (owner.state, owner.param_groups, *owner.param_groups):
                self.saved_elsewhere[id(container)] = container
        for child, module in owner.named_children() if isinstance(owner, nn.Module) else ():
            if id(module) not in self.saved_elsewhere:
                self._add(f"{name}.{child}", module)
        for key, value in _attributes(owner).items():
            has_state = hasattr(value, "state_dict") and hasattr(value, "load_state_dict")
            if has_state and not isinstance(value, type) and id(value) not in self.saved_elsewhere:
                self.parts[f"{name}.{key}"] = value
                self._add(f"{name}.{key}", value)

    def state_dict(self) -> dict[str, Any]:
        """Fields of a `State`.

        Raises:
            InputError: an attribute that has changed can't be saved; the message names it.
        """
        model, optimizer = self.model.state_dict(), self.optimizer.state_dict()
        parts = {name: part.state_dict() for name, part in self.parts.items()}
        shared = _storages(self.model, model)
        attributes = self._changed(shared)
        refuse("model", model)
        refuse("optimizer", optimizer, shared)
        for name, part in parts.items():
            refuse(name, part)
        for name, values in attributes.items():
            refuse(name, values, shared)
        return {
            **self._weights(model),
            "optimizer": optimizer,
            "parts": parts,
            "attributes": attributes,
            "generators": self._generators(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Load the fields of a `State` into the model and the optimizer.

        Raises:
            AttributeError, KeyError, RuntimeError, TypeError, ValueError: it isn't this pair's.
        """
        self.model.load_state_dict(state.get("trained") or state["model"])
        _load(self.optimizer, state["optimizer"], self.device)
        for name, values in state["parts"].items():
            _load(self.parts[name], values, self.device)
        for name, values in state["attributes"].items():
            for key, value in values.items():
                _set(self.owners[name], key, moved(value, self.device))
        set_global_generators(state["generators"], self.device)
        for name in state["generators"].keys() - {"cpu", "cuda"}:
            owner, _, key = name.rpartition(".")
            _set_generator(self.owners[owner], key, state["generators"][name])

    def _weights(self, trained: dict[str, Any]) -> dict[str, dict[str, Any]]:
        if not switches(self.optimizer):
            return {"model": trained, "trained": {}}
        trained = moved(trained, self.device, copy=True)
        with judged(self.model, self.optimizer):
            model = moved(self.model.state_dict(), self.device, copy=True)
        return {"model": model, "trained": trained}

    def _changed(self, shared: Set[int]) -> dict[str, dict[str, Any]]:
        """The attributes that have changed since the start, by their owner's name."""
        changed: dict[str, dict[str, Any]] = {}
        for (name, key), now in self._fingerprints(shared).items():
            value = _attributes(self.owners[name])[key]
            if now == self.initial.get((name, key)) or isinstance(value, torch.Generator):
                continue
            if not (_saves_itself(self.owners[name]) and unkept(key, value)):
                changed.setdefault(name, {})[key] = value
        return changed

    def _fingerprints(self, shared: Set[int]) -> dict[tuple[str, str], object]:
        return {
            (name, key): fingerprint(value, self.saved_elsewhere, shared)
            for name, owner in self.owners.items()
            for key, value in _attributes(owner).items()
        }

    def _generators(self) -> dict[str, Tensor]:
        """States of the pair's generators, and of torch's own, from which dropout, say, draws."""
        states = global_generators(self.device)
        for name, owner in self.owners.items():
            for key, value in _attributes(owner).items():
                if isinstance(value, torch.Generator):
                    states[f"{name}.{key}"] = value.get_state()
        return states


def global_generators(device: torch.device) -> dict[str, Tensor]:
    """The states of torch's own generators that a model on the device may draw from."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":  # pragma: no cover (tests have no GPU)
        states["cuda"] = torch.cuda.get_rng_state()
    return states


def set_global_generators(states: Mapping[str, Tensor], device: torch.device) -> None:
    """Give torch's own generators the states that `global_generators` found."""
    torch.set_rng_state(states["cpu"])
    if "cuda" in states and device.type == "cuda":  # pragma: no cover (tests have no GPU)
        torch.cuda.set_rng_state(states["cuda"])


def _set_generator(owner: Any, key: str, state: Tensor) -> None:
    if not isinstance(_attributes(owner).get(key), torch.Generator):
        _set(owner, key, torch.Generator())  # a step had created it
    _attributes(owner)[key].set_state(state)


class _Plain(Optimizer):
    add_param_group = inspect.unwrap(Optimizer.add_param_group)  # the wrapper imports a compiler


@cache
def _usual(kind: type) -> frozenset[str]:
    """The attributes of every module or optimizer; state dicts hold those of them that matter."""
    usual = nn.Module() if kind is nn.Module else _Plain([torch.zeros(1)], {})
    return frozenset(vars(usual))


def _custom(owner: Any, kind: type) -> dict[str, Any]:
    return {key: value for key, value in vars(owner).items() if key not in _usual(kind)}


def _attributes(owner: Any) -> dict[str, Any]:
    """The attributes of a module or an optimizer beyond those that each of its kind has."""
    if isinstance(owner, nn.Module):
        passing = {key: owner._buffers[key] for key in sorted(owner._non_persistent_buffers_set)}
        return _custom(owner, nn.Module) | passing
    if isinstance(owner, Optimizer):
        return _custom(owner, Optimizer)
    return {}  # of another object only the state dict counts


def _saves_itself(owner: Any) -> bool:
    """Whether its class decides the contents and the form of its state dict."""
    if isinstance(owner, nn.Module):
        return type(owner).get_extra_state is not nn.Module.get_extra_state
    return inspect.unwrap(type(owner).state_dict) is not inspect.unwrap(Optimizer.state_dict)


def _set(owner: Any, key: str, value: Any) -> None:
    """Set an attribute that a checkpoint may hold; a tensor in place, for whoever shares it."""
    live = _attributes(owner).get(key)
    if isinstance(live, Tensor) and isinstance(value, Tensor) and alike(live, value):
        live.detach().copy_(value)
        return
    usual = _usual(nn.Module if isinstance(owner, nn.Module) else Optimizer)
    if key in usual or unkept(key, getattr(owner, key, None)):
        raise ValueError(f"{type(owner).__name__}.{key} isn't kept in checkpoints")
    setattr(owner, key, value)


def _load(part: Any, saved: dict[str, Any], device: torch.device) -> None:
    """Load a state dict; an optimizer's into the dicts that it has, for whoever shares them.

    Torch casts an optimizer's tensors to the parameter's type and breaks strings, so the saved
    values are put back.
    """
    if not isinstance(part, Optimizer):
        part.load_state_dict(saved)
        return
    groups, state = part.param_groups, part.state
    for group, saved_group in zip(groups, saved.get("param_groups", groups), strict=True):
        if absent := group.keys() - saved_group.keys():
            raise ValueError(f"the optimizer lacks {', '.join(sorted(absent))}")
    part.load_state_dict(saved)
    for name, value in part.state_dict().get("state", {}).items():
        if isinstance(value, dict):
            _put_back(value, saved["state"][name], device)
    if part.param_groups is not groups:
        for group, loaded in zip(groups, part.param_groups, strict=True):
            group.update(loaded)
        part.param_groups = groups
    if part.state is not state:
        state.clear()
        state.update(part.state)
        part.state = state


def _put_back(live: dict[Any, Any], saved: dict[Any, Any], device: torch.device) -> None:
    for key, value in saved.items():
        if not isinstance(value, Tensor):
            live[key] = moved(value, device)
        elif live[key].dtype != value.dtype:
            live[key] = value.to(live[key].device)


def _storages(model: nn.Module, state: Mapping[str, Any]) -> Set[int]:
    """The storages of a model's parameters and of what else its state dict holds."""
    tensors = (*model.parameters(), *state.values())
    return {storage(tensor) for tensor in tensors if isinstance(tensor, Tensor)} - {0}
