"""Nested values of a checkpoint: their leaves, whether they come back, whether they changed."""

import hashlib
import io
import pickle
import warnings
from collections import OrderedDict
from collections.abc import Container, Iterator
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from src.errors import InputError

SCALARS = (type(None), bool, int, float, str)
CODE = (type, ModuleType, FunctionType, BuiltinFunctionType)
ADVICE = (
    "can't be kept in a checkpoint; keep tensors, numbers, strings, and dicts, lists and tuples "
    "of them, or do without checkpoints: trainer.checkpoint_every=null"
)


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


def unkept(name: str, value: Any, shared: Container[int] = frozenset()) -> str | None:
    """Name and kind of the first leaf that a checkpoint wouldn't give back; None if there is none.

    Args:
        shared: storages whose tensors would come back as copies.
    """
    for leaf, item in walk(name, value):
        if isinstance(item, Tensor) and storage(item) in shared:
            return f"{leaf}: a tensor that shares a parameter's memory"
        if type(item) in (dict, OrderedDict):
            return f"{leaf}: a dict whose keys aren't numbers or strings"
        if not _comes_back(item):
            return f"{leaf}: a {type(item).__module__}.{type(item).__qualname__}"
    return None


def refuse(name: str, value: Any, shared: Container[int] = frozenset()) -> None:
    """Raise InputError for what `unkept` finds."""
    if leaf := unkept(name, value, shared):
        raise InputError(f"{leaf} {ADVICE}")


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
        with warnings.catch_warnings(action="ignore"):  # it warns that sparse tensors take long
            return type(torch.load(buffer, weights_only=True)) is type(value)
    except Exception:  # pickle and torch may raise anything
        return False


class _Fingerprint(pickle.Pickler):
    """Pickles a value without what is saved elsewhere, and tensors by their digest."""

    def __init__(self, file: io.BytesIO, owners: Container[int], shared: Container[int]) -> None:
        super().__init__(file)
        self.owners, self.shared = owners, shared

    def persistent_id(self, value: Any) -> str | None:
        if id(value) in self.owners:
            return "owner"
        if isinstance(value, CODE):
            return f"{value.__name__}"
        if isinstance(value, Tensor):
            return "shared" if storage(value) in self.shared else _digest(value)
        return _digest(value.get_state()) if isinstance(value, torch.Generator) else None


def fingerprint(value: Any, owners: Container[int], shared: Container[int]) -> object:
    """Equal for an attribute that hasn't changed; None for one that can't be compared (a lock)."""
    if type(value) in SCALARS:
        return value
    buffer = io.BytesIO()
    try:
        _Fingerprint(buffer, owners, shared).dump(value)
    except Exception:  # a user's class may raise anything
        return None
    return hashlib.sha256(buffer.getvalue()).hexdigest()


def storage(tensor: Tensor) -> int:
    """The address of a tensor's memory; 0 for a tensor that has none of its own."""
    return tensor.untyped_storage().data_ptr() if tensor.layout is torch.strided else 0


def _bytes(tensor: Tensor) -> Tensor:
    flat = tensor.detach().cpu().resolve_conj().resolve_neg().reshape(-1)
    return flat.view(torch.uint8)  # a scalar has no such view, hence the reshape


def _digest(tensor: Tensor) -> str:
    form = f"{tensor.dtype} {tuple(tensor.shape)}"
    return form + hashlib.sha256(_bytes(tensor).numpy().tobytes()).hexdigest()


def difference(left: Any, right: Any) -> str | None:
    """The name of the first leaf in which two states differ; None if they are equal to the bit."""
    lefts, rights = dict(walk("", left)), dict(walk("", right))
    for name in {**lefts, **rights}:
        if name not in lefts or name not in rights or not _same(lefts[name], rights[name]):
            return name[1:]
    return None


def alike(left: Tensor, right: Tensor) -> bool:
    """Whether two tensors have the same shape and type."""
    return (left.shape, left.dtype) == (right.shape, right.dtype)


def _same(left: Any, right: Any) -> bool:
    if isinstance(left, Tensor) != isinstance(right, Tensor):
        return False
    if isinstance(left, Tensor):
        if left.layout is not torch.strided:
            return True
        return alike(left, right) and torch.equal(_bytes(left), _bytes(right))
    return bool(left == right or (left != left and right != right))
