"""Who may import whom: data flows one way, and only entries reach across."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from src.config import PROJECT

LEAVES = ("console", "errors", "files", "metrics", "shapes")  # may be imported everywhere
# A part may import these parts of src, besides itself and the leaves. Each line names only parts
# of the lines above it, so that nothing climbs back.
ALLOWED: dict[str, set[str]] = {
    "config.py": set(),
    "targets.py": set(),
    "overrides.py": set(),
    "explaining.py": set(),
    "results": {"config"},
    "launching": {"overrides", "results"},
    "once.py": set(),
    "composing.py": {"config", "explaining", "once"},
    "cli.py": {"config", "launching", "overrides"},
    "suites.py": {"cli", "config"},
    "data": {"targets"},
    "models": set(),
    "losses": set(),
    "optimizers": set(),
    "loggers": {"config", "results", "targets"},
    "resuming.py": {"config", "overrides", "results"},
    "training": {
        *("config", "data", "loggers", "losses", "optimizers", "overrides", "results", "targets"),
    },
    "sweeping": {"cli", "config", "launching", "overrides", "results", "targets", "training"},
    "comparing": {
        *("composing", "config", "launching", "overrides"),
        *("results", "sweeping", "targets", "training"),
    },
    "reporting": {"comparing", "results"},
    "multirun.py": {"reporting", "results"},
    "pruning.py": {"comparing", "reporting", "results", "sweeping"},
}
ENTRIES = (
    "compare",
    "hooks",
    "problems",
    "replay",
    "report",
    "resume",
    "runs",
    "studies",
    "train",
    "trajectories",
)
WITHOUT_TORCH = ("reporting", "results", "comparing/record.py", "comparing/statistics.py",
                 "comparing/sequential.py", "comparing/signed_rank.py", "comparing/sooner.py",
                 "comparing/together.py", "comparing/words.py", "comparing/across.py",
                 "comparing/profiles.py", "comparing/overall.py", "comparing/overall_verdict.py",
                 "cli.py", "composing.py", "config.py", "console.py", "errors.py", "metrics.py",
                 "shapes.py", "suites.py", "targets.py", "train.py", "multirun.py", "pruning.py",
                 "runs.py")  # fmt: skip


@cache
def modules() -> dict[str, Path]:
    """Every file of src by its dotted name."""
    paths = (PROJECT / "src").rglob("*.py")
    names = {".".join(path.relative_to(PROJECT).with_suffix("").parts): path for path in paths}
    return {name.removesuffix(".__init__"): path for name, path in names.items()}


def imported(path: Path) -> Iterator[str]:
    """The module of every import in a file, inside functions too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module is not None, f"{path}: relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in modules() else node.module for name in names)


def files(part: str) -> list[Path]:
    place = PROJECT / "src" / part
    return [place] if place.is_file() else sorted(place.rglob("*.py"))


@pytest.mark.parametrize("part", ALLOWED)
def test_directions(part: str) -> None:
    reachable = {part.removesuffix(".py"), *LEAVES, *ALLOWED[part]}
    seen = [(path, module) for path in files(part) for module in imported(path)]
    assert files(part)
    for path, module in seen:
        if module.startswith("src."):
            assert module.split(".")[1] in reachable, f"{path} imports {module}"


def test_every_part_has_a_line_and_no_line_climbs_back() -> None:
    above: set[str] = set()
    for part, reached in ALLOWED.items():
        assert reached <= above, part
        above.add(part.removesuffix(".py"))
    parts = {name.split(".")[1] for name in modules() if name != "src"}
    assert parts == {*above, *ENTRIES, *LEAVES}


def test_no_two_files_import_each_other() -> None:
    """Not even by way of others, or inside a function."""
    graph = {name: {*imported(path)} & modules().keys() for name, path in modules().items()}
    while leaves := [name for name, reached in graph.items() if not (reached - {name})]:
        for leaf in leaves:
            del graph[leaf]
        graph = {name: reached - {*leaves} for name, reached in graph.items()}
    assert not graph, f"a circle: {graph}"


@pytest.mark.parametrize("part", WITHOUT_TORCH)
def test_light_parts_do_not_import_torch(part: str) -> None:
    for path in files(part):
        for module in imported(path):
            assert module.split(".")[0] not in ("torch", "torchvision"), f"{path}: {module}"
