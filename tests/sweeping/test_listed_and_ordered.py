"""How a config's text is ordered, and what listings read."""

from pathlib import Path
from typing import Any

import pytest

from src.results import listing
from src.sweeping.template import to_yaml


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
