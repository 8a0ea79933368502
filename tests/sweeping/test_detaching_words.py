"""What a command that is left to the background is given, and how a config's text is ordered."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from src.results import listing
from src.sweeping import detaching
from src.sweeping.template import to_yaml


def test_what_goes_on_in_the_background(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All words but those that detach it; nothing to read; its folder may be there already."""
    given = list[Any]()

    def start(command: list[str], **options: Any) -> Any:
        given.append((command, options))
        options["stdout"].write(b"said\n")
        return SimpleNamespace(pid=12)

    monkeypatch.setattr(detaching.subprocess, "Popen", start)
    words = ["python", "-m", "src.train", "-m", "detach=true", "+detach=1", "seed=1,2",
             "hydra.sweeper.detach=true", "detached=3"]  # fmt: skip
    monkeypatch.setattr(sys, "orig_argv", words)
    folder = tmp_path / "a" / "b"
    for _ in range(2):
        detaching.detach("s", folder, [])
    for command, options in given:
        assert command == [sys.executable, "-m", "src.train", "-m", "seed=1,2", "detached=3"]
        assert options["stdin"] == subprocess.DEVNULL and options["start_new_session"] is True
        assert options["stdout"] is options["stderr"]
    assert (folder / "submitter.log").read_text() == "said\nsaid\n"


def test_a_text_has_the_order_of_its_values() -> None:
    assert to_yaml({"b": {"z": 1, "a": [1, 2]}, "a": "ü"}) == (
        "b:\n  z: 1\n  a:\n  - 1\n  - 2\na: ü\n"
    )


@pytest.mark.parametrize(
    ("node", "choice"),
    [
        ({"name": "digits"}, "digits"),  # as earlier versions wrote it
        ({}, None),
        (None, None),
        ("text", None),
        ({"_target_": "my.own.Method"}, "Method"),
        ({"_target_": "src.optimizers.Lion", "lr": 9.0}, "lion"),
    ],
)
def test_the_choice_that_a_group_was_made_from(node: Any, choice: str | None) -> None:
    assert listing._choice("optimizer", node) == choice


def test_a_result_that_is_too_deep_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.yaml").write_text("seed: 1\n")
    (tmp_path / "result.json").write_text('{"status": "completed"}')

    def deep(value: Any) -> Any:
        if "status" in value:
            raise RecursionError("too deep")
        return {**value}

    assert listing.facts(tmp_path, tmp_path)["status"] == "completed"
    monkeypatch.setattr(listing, "flatten", deep)
    with pytest.raises(listing.InputError, match=r"result\.json: too deep"):
        listing.facts(tmp_path, tmp_path)
