"""What a checkpoint holds: all that training changes in a model and its optimizer."""

import hashlib
import io
import pickle
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Set
from functools import cache
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, NonNegativeInt
from torch import Tensor, nn
from torch.optim import Optimizer

from src.errors import InputError

SCALARS = (type(None), bool, int, float, str)
CODE = (type, ModuleType, FunctionType, BuiltinFunctionType)
ADVICE = (
    "can't be kept in a checkpoint; keep tensors, numbers, strings, and dicts, lists and tuples "
    "of them, or do without checkpoints: trainer.checkpoint_every=null"
)


class State(BaseModel):
    """What a checkpoint holds; it may be from somebody else, so that every part is checked."""

    model_config = ConfigDict(strict=True, extra="forbid", arbitrary_types_allowed=True)

    config: dict[str, Any] | None = None  # of the run; versions before this field wrote none
    model: dict[str, Any]
    optimizer: dict[str, Any]
    parts: dict[str, dict[str, Any]] = {}
    attributes: dict[str, dict[str, Any]] = {}  # by their owner's name
    generators: dict[str, Tensor]
    position: dict[str, int | float]
    stopper: dict[str, int | float | None]
    rows: NonNegativeInt
    ended: Literal["completed", "early_stopped", "diverged", "pruned"] | None
    eval_seconds: float


class Pair:
    """A model and its optimizer, saved and loaded with what their state dicts leave out.

    Those are generators; attributes, such as a counter, that have changed since the pair was
    made; buffers that aren't persistent; and the optimizer's parts that have a state dict of
    their own, such as an optimizer within it.

    Args:
        model: its parameters lie on one device.
        optimizer: of the model's parameters; it has taken no step.
    """

    def __init__(self, model: nn.Module, optimizer: Optimizer) -> None:
        self.model, self.optimizer = model, optimizer
        self.device = next(model.parameters()).device
        self.owners: dict[str, Any] = {}  # of attributes
        self.ids: set[int] = set()  # of the owners
        self.parts: dict[str, Any] = {}
        self._add("model", model)
        self._add("optimizer", optimizer)
        self.made = self._fingerprints()

    def _add(self, name: str, owner: Any) -> None:
        self.owners[name] = owner
        self.ids.add(id(owner))
        for child, module in owner.named_children() if isinstance(owner, nn.Module) else ():
            if id(module) not in self.ids:
                self._add(f"{name}.{child}", module)
        for key, value in _attributes(owner).items():
            has_state = hasattr(value, "state_dict") and hasattr(value, "load_state_dict")
            if has_state and not isinstance(value, type) and id(value) not in self.ids:
                self.parts[f"{name}.{key}"] = value
                self._add(f"{name}.{key}", value)

    def state_dict(self) -> dict[str, Any]:
        """Fields of a `State`.

        Raises:
            InputError: something that has changed can't be kept; its dotted name says what.
        """
        model, optimizer = self.model.state_dict(), self.optimizer.state_dict()
        parts = {name: part.state_dict() for name, part in self.parts.items()}
        attributes, shared = self._changed(), self._storages()
        refuse("model", model)
        refuse("optimizer", optimizer, shared)
        for name, part in parts.items():
            refuse(name, part)
        for name, values in attributes.items():
            refuse(name, values, shared)
        return {
            "model": model,
            "optimizer": optimizer,
            "parts": parts,
            "attributes": attributes,
            "generators": self._generators(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put the fields of a `State` in their places.

        Raises:
            AttributeError, KeyError, RuntimeError, TypeError, ValueError: it isn't this pair's.
        """
        self.model.load_state_dict(state["model"])
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

    def _changed(self) -> dict[str, dict[str, Any]]:
        """The attributes that aren't as they were made, by their owner's name."""
        changed: dict[str, dict[str, Any]] = {}
        for (name, key), fingerprint in self._fingerprints().items():
            value = _attributes(self.owners[name])[key]
            if fingerprint == self.made.get((name, key)) or isinstance(value, torch.Generator):
                continue
            if not (_saves_itself(self.owners[name]) and unkept(key, value)):
                changed.setdefault(name, {})[key] = value
        return changed

    def _fingerprints(self) -> dict[tuple[str, str], str | None]:
        shared = self._storages()
        return {
            (name, key): _fingerprint(value, self.ids, shared)
            for name, owner in self.owners.items()
            for key, value in _attributes(owner).items()
        }

    def _storages(self) -> set[int]:
        """Where the model keeps what its state dict holds."""
        tensors = (*self.model.parameters(), *self.model.state_dict().values())
        return {_storage(tensor) for tensor in tensors if isinstance(tensor, Tensor)} - {0}

    def _generators(self) -> dict[str, Tensor]:
        """States of the generators held, and of torch's own, which dropout, say, draws from."""
        states = {"cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            states["cuda"] = torch.cuda.get_rng_state()
        for name, owner in self.owners.items():
            for key, value in _attributes(owner).items():
                if isinstance(value, torch.Generator):
                    states[f"{name}.{key}"] = value.get_state()
        return states


def set_global_generators(states: Mapping[str, Tensor], device: torch.device) -> None:
    """Give torch's own generators the states that `Pair.state_dict` found."""
    torch.set_rng_state(states["cpu"])
    if "cuda" in states and device.type == "cuda":
        torch.cuda.set_rng_state(states["cuda"])


def _set_generator(owner: Any, key: str, state: Tensor) -> None:
    if not isinstance(_attributes(owner).get(key), torch.Generator):
        _set(owner, key, torch.Generator())  # it was made in a step
    _attributes(owner)[key].set_state(state)


@cache
def _usual(kind: type) -> frozenset[str]:
    """What every module, or every optimizer, holds; their state dicts keep of it what counts."""
    usual = nn.Module() if kind is nn.Module else Optimizer([torch.zeros(1)], {})
    return frozenset(vars(usual))


def _own(owner: Any, kind: type) -> dict[str, Any]:
    return {key: value for key, value in vars(owner).items() if key not in _usual(kind)}


def _attributes(owner: Any) -> dict[str, Any]:
    """What a module or an optimizer holds beside what every one does."""
    if isinstance(owner, nn.Module):
        passing = {key: owner._buffers[key] for key in sorted(owner._non_persistent_buffers_set)}
        return _own(owner, nn.Module) | passing
    if isinstance(owner, Optimizer):
        return _own(owner, Optimizer)
    return {}  # its state dict is all that is known of it


def _saves_itself(owner: Any) -> bool:
    """Whether its class decides what its state dict holds, and in what form."""
    if isinstance(owner, nn.Module):
        return type(owner).get_extra_state is not nn.Module.get_extra_state
    return type(owner).state_dict is not Optimizer.state_dict


def _set(owner: Any, key: str, value: Any) -> None:
    """Set an attribute that a checkpoint may hold; a tensor in place, for whoever shares it."""
    live = _attributes(owner).get(key)
    if isinstance(live, Tensor) and isinstance(value, Tensor) and _alike(live, value):
        live.detach().copy_(value)
        return
    usual = _usual(nn.Module if isinstance(owner, nn.Module) else Optimizer)
    if key in usual or unkept(key, getattr(owner, key, None)):
        raise ValueError(f"{type(owner).__name__}.{key} isn't kept in checkpoints")
    setattr(owner, key, value)


def _alike(one: Tensor, other: Tensor) -> bool:
    return (one.shape, one.dtype) == (other.shape, other.dtype)


def _load(part: Any, saved: dict[str, Any], device: torch.device) -> None:
    """Load a state dict; an optimizer's into the dicts that it has, for whoever shares them.

    Torch casts an optimizer's tensors to the parameter's type and breaks strings: what was saved
    is put back as it was.
    """
    if not isinstance(part, Optimizer):
        part.load_state_dict(saved)
        return
    groups, state = part.param_groups, part.state
    for group, other in zip(groups, saved.get("param_groups", groups), strict=True):
        if missing := group.keys() - other.keys():
            raise ValueError(f"the optimizer lacks {', '.join(sorted(missing))}")
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


def moved(value: Any, device: torch.device, *, copy: bool = False) -> Any:
    """Nested dicts, lists and tuples with their tensors on the device, or copied to it."""
    if isinstance(value, Tensor):
        return value.detach().to(device, copy=copy)
    if type(value) in (dict, OrderedDict):
        pairs = ((key, moved(item, device, copy=copy)) for key, item in value.items())
        return type(value)(pairs)
    if type(value) in (list, tuple):
        return type(value)(moved(item, device, copy=copy) for item in value)
    return value


def walk(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """The leaves of nested dicts, lists and tuples, each with its dotted name."""
    if type(value) in (dict, OrderedDict) and all(type(key) in SCALARS for key in value):
        for key, item in value.items():
            yield from walk(f"{name}.{key}" if isinstance(key, str) else f"{name}[{key}]", item)
    elif type(value) in (list, tuple):
        for index, item in enumerate(value):
            yield from walk(f"{name}[{index}]", item)
    else:
        yield name, value


def unkept(name: str, value: Any, shared: Set[int] = frozenset()) -> str | None:
    """Name and kind of the first leaf that a checkpoint wouldn't give back; None if there is none.

    Args:
        shared: storages whose tensors would come back as copies.
    """
    for leaf, item in walk(name, value):
        if isinstance(item, Tensor) and _storage(item) in shared:
            return f"{leaf}: a tensor that shares a parameter's memory"
        if type(item) in (dict, OrderedDict):
            return f"{leaf}: a dict whose keys aren't numbers or strings"
        if not _comes_back(item):
            return f"{leaf}: a {type(item).__module__}.{type(item).__qualname__}"
    return None


def refuse(name: str, value: Any, shared: Set[int] = frozenset()) -> None:
    """Raise InputError for what `unkept` finds."""
    if found := unkept(name, value, shared):
        raise InputError(f"{found} {ADVICE}")


def _comes_back(value: Any) -> bool:
    """Whether a checkpoint's reader, which runs no code, gives a leaf back."""
    if type(value) in SCALARS:
        return True
    if type(value) in (Tensor, nn.Parameter) and value.layout is torch.strided:
        return not value.is_quantized
    try:
        buffer = io.BytesIO()
        torch.save(value, buffer)
        buffer.seek(0)
        return type(torch.load(buffer, weights_only=True)) is type(value)
    except Exception:  # pickle and torch raise what they like
        return False


class _Fingerprint(pickle.Pickler):
    """Pickles a value without what is kept elsewhere, and tensors by their digest."""

    def __init__(self, file: io.BytesIO, owners: set[int], shared: set[int]) -> None:
        super().__init__(file)
        self.owners, self.shared = owners, shared

    def persistent_id(self, value: Any) -> str | None:
        if id(value) in self.owners:
            return "owner"
        if isinstance(value, CODE):
            return f"{value.__name__}"
        if isinstance(value, Tensor):
            return "shared" if _storage(value) in self.shared else tensor_sha256(value)
        return tensor_sha256(value.get_state()) if isinstance(value, torch.Generator) else None


def _fingerprint(value: Any, owners: set[int], shared: set[int]) -> str | None:
    """Equal for an attribute that hasn't changed; None for a lock, say, which nobody can tell."""
    buffer = io.BytesIO()
    try:
        _Fingerprint(buffer, owners, shared).dump(value)
    except Exception:  # own classes raise what they like
        return None
    return hashlib.sha256(buffer.getvalue()).hexdigest()


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr() if tensor.layout is torch.strided else 0


def tensor_sha256(tensor: Tensor) -> str:
    """Digest of a tensor's type, shape and bytes."""
    flat = tensor.detach().cpu().reshape(-1)  # a scalar has no bytes to view
    content = flat.view(torch.uint8).numpy().tobytes()
    return hashlib.sha256(f"{tensor.dtype} {tuple(tensor.shape)}\n".encode() + content).hexdigest()


def difference(one: Any, other: Any) -> str | None:
    """The name of the first leaf in which two states differ; None if they are equal to the bit."""
    ours, theirs = dict(walk("", one)), dict(walk("", other))
    for name in {**ours, **theirs}:
        if name not in ours or name not in theirs or not _same(ours[name], theirs[name]):
            return name[1:]
    return None


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one.layout is not torch.strided or tensor_sha256(one) == tensor_sha256(other)
    return bool(one == other or (one != one and other != other))
