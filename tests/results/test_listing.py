"""The facts of runs, against OmegaConf's reading of the same files."""

import json
import os
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from src.config import CONF, PROJECT, flatten
from src.errors import InputError
from src.results import listing
from tests.helpers import composed

KEYS = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,5}", fullmatch=True)
VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False),
    st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="$"), max_size=200),
    st.lists(st.integers() | st.text("ab *&-:'\"\n", max_size=9), max_size=3),
)  # fmt: skip
CONFIGS = st.dictionaries(KEYS, VALUES | st.dictionaries(KEYS, VALUES, max_size=3), max_size=5)


@given(CONFIGS)
def test_a_config_read_by_sections_is_the_config(config: dict[str, Any]) -> None:
    text = OmegaConf.to_yaml(OmegaConf.create(config))
    expected = flatten(OmegaConf.to_container(OmegaConf.create(text)))
    read = listing._loaded(text)
    assert {key: value for key, value in read.items() if key in expected} == expected
    assert {*read} - {*expected} <= {*listing.GROUPS}


@pytest.mark.parametrize(
    "text",
    ["{a: 1,\nb: {c: 2}}\n", "---\na: 1\nb: {c: 2}\n", "b:\n  c: 2\na: 1", "'a': 1\nb: {c: 2}",
     'a: 1\nb: {"c":\n 2}\n', "# b: 3\na: 1\n\n# x\nb: {c: 2}\n", "a: 3\nb: {c: 2}\na: 1\n"],
)  # fmt: skip
def test_a_config_in_any_style(text: str) -> None:
    assert listing._loaded(text) == {"a": 1, "b.c": 2}


def a_run(folder: Path, *overrides: str, result: object = None, config: str | None = None) -> Path:
    """A run's folder as `src.train` leaves it, but for the training."""
    folder.mkdir(parents=True)
    text = _config(*overrides) if config is None else config
    (folder / "config.yaml").write_text(text)
    if result is not None:
        (folder / "result.json").write_text(json.dumps(result))
    return folder


@cache  # composing takes longer than all else
def _config(*overrides: str) -> str:
    return OmegaConf.to_yaml(composed(*overrides), resolve=True)


def test_all_facts_of_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = {"status": "completed", "objective": {"metric": "val_loss", "value": 0.5}, "steps": 3,
              "best": {"val_loss": 0.5, "lr": 0.1}}  # fmt: skip
    folder = a_run(tmp_path / "runs" / "x", "optimizer=sgd", "seed=7", result=result)
    for name, time in (("config.yaml", 1000), ("result.json", 2000.75)):
        os.utime(folder / name, (time, time))
    (folder / "provenance.json").write_text("newer")
    monkeypatch.chdir(tmp_path)
    read = listing.facts(folder, tmp_path)
    expected = OmegaConf.to_container(OmegaConf.load(folder / "config.yaml"))
    own = {
        "optimizer": "sgd", "scheduler": "constant", "model": "mlp", "data": "digits",
        "loss": "cross_entropy",
        "folder": "runs/x", "origin": "run", "of": None, "written": read["written"],
        "status": "completed", "objective.value": 0.5, "steps": 3, "best.val_loss": 0.5,
        "best.lr": 0.1,
    }  # fmt: skip
    assert read == {**flatten(expected), **own}
    assert listing.written(folder) == 2000.75
    assert read["written"].endswith(":20") and read["written"].startswith("1970-01-01 ")
    monkeypatch.chdir(folder)
    assert listing.facts(folder, tmp_path)["folder"] == "."


@pytest.mark.parametrize(
    ("place", "trial", "origin", "of"),
    [
        ("runs/2026-01-01/10-00-00-adam-digits", None, "run", None),
        ("sweeps/2026-01-01-10-00-00/trial-3", None, "job", "2026-01-01-10-00-00"),
        ("sweeps/adam/trial-3", {"study": "adam-x", "trial": 3}, "trial", "adam-x"),
        ("elsewhere/trial-3", {"study": "adam-x", "trial": 3}, "trial", "adam-x"),
        ("comparisons/four/runs/adam-tuned-0-seed-100", None, "comparison", "four"),
        ("replays/x", None, "replay", None),
        ("mine", None, "run", None),
        ("sweeps/alone", None, "run", None),
    ],
)
def test_where_a_run_comes_from(
    tmp_path: Path, place: str, trial: object, origin: str, of: str | None
) -> None:
    folder = a_run(tmp_path / place, config="seed: 1\n")
    if trial is not None:
        (folder / "trial.json").write_text(json.dumps(trial))
    assert [*listing.find(tmp_path, print)] == [folder]
    read = listing.facts(folder, tmp_path)
    assert (read["origin"], read["of"], read["status"]) == (origin, of, "unfinished")


@pytest.mark.parametrize("group", listing.GROUPS)
def test_a_choice_is_named_by_its_file(group: str) -> None:
    """Every file of the group names itself; a value of one's own changes nothing but a tie."""
    files = sorted((CONF / group).rglob("*.yaml"))
    assert files
    for path in files:
        name = str(path.relative_to(CONF / group).with_suffix(""))
        node = OmegaConf.to_container(composed(f"{group}={name}"), resolve=True)[group]  # type: ignore
        assert listing._choice(group, node) == name
    assert listing._choice("optimizer", {"_target_": "src.optimizers.Adam", "lr": 7.0}) == "adam"
    assert listing._choice("optimizer", {"_target_": "torch.optim.Adam"}) == "torch/adam"
    assert listing._choice("optimizer", {"_target_": "mine.Better", "lr": 1}) == "Better"
    assert listing._choice("model", {"_target_": "src.models.MLP", "hidden_sizes": [3]}) == "MLP"
    assert listing._choice("model", {}) is None


def test_what_is_found_and_what_isnt(tmp_path: Path) -> None:
    """Nothing within a run, nothing hidden, nothing behind a link, no folder of other files."""
    outside = a_run(tmp_path / "outside", config="a: 1")
    root = tmp_path / "root"
    kept = [a_run(root / name, config="a: 1") for name in ("b", "a/x", "a/y/z")]
    for name in ("b/checkpoints/inner", ".hidden", "b/.hydra", "a/.x/y"):
        a_run(root / name, config="a: 1")
    (root / "link").symlink_to(outside)
    (root / "c").mkdir()
    (root / "c" / "best.yaml").touch()
    (root / "d").mkdir()
    (root / "d" / "metrics.jsonl").touch()  # of a run whose other files are gone
    errors: list[object] = []
    assert {*listing.find(root, errors.append)} == {*kept, root / "d"}
    assert errors == []
    assert [*listing.find(root / "nowhere", errors.append)] == [] and len(errors) == 1


BOMB = "a: &a [x,x]\nb: &b [*a,*a]\nc: [*b,*b]\n"


@pytest.mark.parametrize(
    ("config", "result", "reason"),
    [
        (None, "{}", "it has no config.yaml"),
        ("[1, 2]", "{}", "config.yaml: not a config"),
        ("a: [1", "{}", "config.yaml: while parsing"),
        ("a: 1", "{", "result.json"),
        ("a: 1", "[]", "result.json: not what a run leaves there"),
        (BOMB, "{}", "config.yaml: it holds an alias"),
        ("[" * 5000, "{}", "config.yaml"),
        ("a: 1", '{"a":' * 5000 + "1" + "}" * 5000, "result.json"),
    ],
)
def test_a_broken_run_is_refused_in_one_line(
    tmp_path: Path, config: str | None, result: str, reason: str
) -> None:
    (tmp_path / "result.json").write_text(result)
    if config is not None:
        (tmp_path / "config.yaml").write_text(config)
    with pytest.raises(InputError) as refused:
        listing.facts(tmp_path, tmp_path)
    assert str(refused.value).startswith(f"{tmp_path}: ") and reason in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


def test_however_deep_a_result_is(tmp_path: Path) -> None:
    """Each is read or refused, also where JSON's reader bears more than ours."""
    folder, refused = a_run(tmp_path / "x", config="a: 1"), 0
    for depth in range(700, 1000, 3):
        (folder / "result.json").write_text('{"a":' * depth + "1" + "}" * depth)
        try:
            assert listing.facts(folder, tmp_path)[".".join("a" * depth)] == 1
        except InputError:
            refused += 1
    assert 0 < refused < 90


def test_a_star_is_no_alias(tmp_path: Path) -> None:
    folder = a_run(tmp_path / "x", config="a: '*b'\nc: x * y & z\n")
    assert listing.facts(folder, tmp_path)["a"] == "*b"


def test_runs_of_earlier_versions() -> None:
    root = PROJECT / "tests" / "previous"
    runs = {path.name: listing.facts(path, root) for path in listing.find(root, print)}
    assert {name: (run["optimizer"], run["status"]) for name, run in runs.items()} == {
        "finished": ("adam", "completed"), "interrupted": ("momentum", "interrupted")
    }  # fmt: skip
