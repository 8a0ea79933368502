"""Where a process runs, and when seconds can be compared."""

import os

import pytest

from src.results.place import not_comparable, place
from src.training.device import visible_gpus


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FAIRSTEP_NODE", "FAIRSTEP_JOB", "FAIRSTEP_WORKER", "SLURM_CPUS_ON_NODE"):
        monkeypatch.delenv(name, raising=False)


def test_a_place(monkeypatch: pytest.MonkeyPatch) -> None:
    here = place()
    assert here["node"] == os.uname().nodename and here["job"] is None and here["cpu"]
    assert here["shared"] is None, "nobody knows"
    monkeypatch.setenv("FAIRSTEP_WORKER", "1")
    assert place()["shared"] is True
    monkeypatch.setenv("FAIRSTEP_NODE", "n1")
    monkeypatch.setenv("FAIRSTEP_JOB", "slurm 3")
    assert (place()["node"], place()["job"]) == ("n1", "slurm 3")


@pytest.mark.parametrize(("given", "shared"), [("8", False), ("9", False), ("7", True)])
def test_slurm_tells_whether_a_node_is_shared(
    monkeypatch: pytest.MonkeyPatch, given: str, shared: bool
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setenv("FAIRSTEP_WORKER", "1")
    monkeypatch.setenv("SLURM_CPUS_ON_NODE", given)
    assert place()["shared"] is shared


def test_seconds_compare_on_equal_machines_alone() -> None:
    a, b = {"cpu": "A", "shared": False}, {"cpu": "B", "shared": None}
    assert not_comparable([]) is None and not_comparable([a, a, {}]) is None
    assert not_comparable([b, a, a]) == "2 kinds of machine (A, B)"
    assert not_comparable([a, {**a, "shared": True}]) == "machines that workers shared"
    assert not_comparable([{**a, "together": None}]) is None
    assert not_comparable([a, {**a, "together": 4}]) == "trials that were trained at once"
    assert not_comparable([b, {**a, "shared": True}]) == (
        "2 kinds of machine (A, B) and machines that workers shared"
    )


def test_the_gpus_that_local_workers_share_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert visible_gpus("auto") == visible_gpus("cuda") == ["0", "1"]
    assert visible_gpus("cpu") == []
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3, GPU-5f2")
    assert visible_gpus("auto") == ["3", "GPU-5f2"], "as the launcher of this process named them"
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    assert visible_gpus("auto") == []
