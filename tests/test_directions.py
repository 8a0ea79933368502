"""Who may import whom: data flows one way, and only entries reach across."""

import ast
from collections.abc import Iterator

import pytest

from src.config import PROJECT

# A part may import these parts of src, besides itself, src.errors and src.files.
ALLOWED: dict[str, set[str]] = {
    "data": set(),
    "models": set(),
    "optimizers": set(),
    "results": set(),
    "training": {"data"},
    "reporting": {"results"},
    "comparing": {"config", "results", "run", "sweeping"},
}
WITHOUT_TORCH = ("reporting", "cli.py", "config.py", "errors.py", "train.py")


def imported(part: str) -> Iterator[tuple[str, str]]:
    """(file, module) of every import in a file or folder of src, inside functions too."""
    place = PROJECT / "src" / part
    for path in [place] if place.is_file() else sorted(place.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from ((str(path), alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path}: relative import"
                assert node.module is not None
                yield str(path), node.module
                yield from ((str(path), f"{node.module}.{alias.name}") for alias in node.names)


@pytest.mark.parametrize("part", ALLOWED)
def test_directions(part: str) -> None:
    reachable = {part, "errors", "files", *ALLOWED[part]}
    seen = list(imported(part))
    assert seen
    for path, module in seen:
        if module.startswith("src."):
            assert module.split(".")[1] in reachable, f"{path} imports {module}"


@pytest.mark.parametrize("part", WITHOUT_TORCH)
def test_light_parts_do_not_import_torch(part: str) -> None:
    for path, module in imported(part):
        assert module.split(".")[0] not in ("torch", "torchvision"), f"{path} imports {module}"
