"""Ray's tasks are asked to end before Ray kills them; tests/cluster does so for real."""

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from src.launching import ray_tasks
from src.launching.ray_tasks import end_tasks, remember_tasks


class Ray:
    """What is asked of it, in order."""

    def __init__(self, *, initialized: bool = True) -> None:
        self.told = list[object]()
        self.initialized = initialized

    def is_initialized(self) -> bool:
        return self.initialized

    def cancel(self, task: str) -> None:
        self.told.append(task)

    def wait(self, tasks: list[str], num_returns: int, timeout: float) -> None:
        self.told.append(([*tasks], num_returns, timeout))

    def shutdown(self) -> None:
        self.told.append("shutdown")


@pytest.fixture
def tasks(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    tasks: list[Any] = ["a", "b"]
    monkeypatch.setattr(ray_tasks, "TASKS", tasks)
    return tasks


def test_each_is_asked_and_awaited(monkeypatch: pytest.MonkeyPatch, tasks: list[Any]) -> None:
    ray = Ray()
    monkeypatch.setitem(sys.modules, "ray", ray)
    end_tasks(7.0)
    assert ray.told == ["a", "b", (["a", "b"], 2, 7.0), "shutdown"] and not tasks
    end_tasks(7.0)
    assert ray.told[4:] == ["shutdown"], "Ray refuses to wait for nothing"


def test_without_ray_nobody_is_asked(monkeypatch: pytest.MonkeyPatch, tasks: list[Any]) -> None:
    """It could not be imported, or has ended meanwhile."""
    ray = Ray(initialized=False)
    monkeypatch.delitem(sys.modules, "ray", raising=False)
    end_tasks(7.0)
    assert tasks
    monkeypatch.setitem(sys.modules, "ray", ray)
    end_tasks(7.0)
    assert ray.told == ["shutdown"] and not tasks
    monkeypatch.setitem(sys.modules, "ray", ModuleType("ray"))
    end_tasks(7.0)  # it is being imported


def test_what_the_launcher_starts_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once, however often it is asked for."""
    core = SimpleNamespace()
    util = SimpleNamespace(launch_job_on_ray=lambda *given: ["task", *given])
    for name, module in (("_core", core), ("_launcher_util", util)):
        monkeypatch.setitem(sys.modules, f"{ray_tasks.PLUGIN}.{name}", module)
    monkeypatch.setitem(sys.modules, ray_tasks.PLUGIN, ModuleType(ray_tasks.PLUGIN))
    monkeypatch.setattr(ray_tasks, "TASKS", tasks := list[Any]())
    remember_tasks()
    remember_tasks()
    assert core.launch_job_on_ray(1, 2) == ["task", 1, 2] and tasks == [["task", 1, 2]]
