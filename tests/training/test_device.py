"""The device of a run, and its threads: a function of the work's size, and of nothing else."""

import os
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import torch

from src.config import parse
from src.errors import InputError
from src.results import identity
from src.training.device import (
    device_name,
    find_device,
    set_threads,
    set_up_torch,
    threads_for,
)
from tests.helpers import composed


@pytest.mark.parametrize(
    ("batch_size", "parameters", "threads"),
    [
        (32, 7_510, 1),  # the digits, a hidden layer of 100
        (64, 79_510, 1),  # MNIST, the same
        (256, 79_510, 1),
        (64, 397_510, 1),  # MNIST, a hidden layer of 500
        (64, 1_796_010, 2),  # MNIST, two of 1000
        (64, 5_592_010, 2),
        (1, 2**26 - 1, 1),
        (1, 2**26, 2),
        (2**26, 1, 2),
        (32, 0, 1),
    ],
)
def test_sizes(batch_size: int, parameters: int, threads: int) -> None:
    assert threads_for(batch_size, parameters) == threads


@pytest.mark.parametrize(
    ("recorded", "threads"),
    [
        ({"threads": 2}, 2),
        ({"threads": 1024}, 1024),
        ({}, None),
        ({"threads": 0}, None),
        ({"threads": 1025}, None),
        ({"threads": True}, None),
        ({"threads": "2"}, None),
    ],
)
def test_those_that_a_run_had(recorded: Mapping[str, Any], threads: int | None) -> None:
    assert identity.threads(recorded) == threads


@pytest.mark.parametrize(
    ("named", "had", "threads"), [(None, None, 1), (None, 2, 2), (3, 2, 3), (3, None, 3)]
)
def test_which_number_is_followed(
    monkeypatch: pytest.MonkeyPatch, named: int | None, had: int | None, threads: int
) -> None:
    told: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", told.append)
    config = parse(composed(f"trainer.threads={'null' if named is None else named}"))
    set_threads(config, torch.nn.Linear(64, 10), had)
    assert told == [threads]


@pytest.mark.parametrize(
    ("cuda", "mps", "name", "found"),
    [
        (False, False, "auto", "cpu"),
        (False, True, "auto", "mps"),
        (True, True, "auto", "cuda"),
        (True, False, "cuda", "cuda"),
        (True, True, "cpu", "cpu"),
    ],
)
def test_the_device(
    monkeypatch: pytest.MonkeyPatch, cuda: bool, mps: bool, name: str, found: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert find_device(name) == torch.device(found)


@pytest.mark.parametrize(
    ("cuda", "name", "usable"), [(False, "cuda", "cpu"), (True, "mps", "cpu, cuda")]
)
def test_a_device_that_is_not_there(
    monkeypatch: pytest.MonkeyPatch, cuda: bool, name: str, usable: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(InputError) as refused:
        find_device(name)
    says = f"trainer.device={name}: not available here; available: auto, {usable}"
    assert str(refused.value) == says


def test_the_name_of_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"card {device}")
    assert device_name(torch.device("cpu")) == "cpu"
    assert device_name(torch.device("cuda:1")) == "card cuda:1"


VARIABLES = {"CUBLAS_WORKSPACE_CONFIG": ":4096:8", "TORCHINDUCTOR_DETERMINISTIC": "1"}


@pytest.fixture
def torch_as_it_is(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a run sets up in the process is put back."""
    for name in VARIABLES:
        monkeypatch.setenv(name, "")  # remembers that it was away, or what it was
        monkeypatch.delenv(name)
    settings = torch.utils.deterministic
    monkeypatch.setattr(settings, "fill_uninitialized_memory", settings.fill_uninitialized_memory)
    threads, mode = torch.get_num_threads(), torch.get_deterministic_debug_mode()
    yield
    torch.set_num_threads(threads)
    torch.set_deterministic_debug_mode(mode)


@pytest.mark.parametrize("deterministic", [True, False])
def test_what_a_run_sets_up(torch_as_it_is: None, deterministic: bool) -> None:
    torch.set_num_threads(2)
    torch.set_deterministic_debug_mode("warn")
    torch.utils.deterministic.fill_uninitialized_memory = True  # type: ignore[attr-defined]
    set_up_torch(parse(composed(f"trainer.deterministic={str(deterministic).lower()}")))
    assert torch.get_num_threads() == 1
    assert torch.get_deterministic_debug_mode() == (2 if deterministic else 0)
    assert torch.are_deterministic_algorithms_enabled() is deterministic
    assert torch.utils.deterministic.fill_uninitialized_memory is False  # type: ignore[attr-defined]
    set_now = {name: os.environ[name] for name in VARIABLES if name in os.environ}
    assert set_now == (VARIABLES if deterministic else {})


def test_what_the_user_has_set_stays(torch_as_it_is: None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.setenv(name, ":16:8")
    set_up_torch(parse(composed()))
    assert {os.environ[name] for name in VARIABLES} == {":16:8"}
