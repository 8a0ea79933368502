"""`python -m src.compare` as a user runs it, on the digits with a small budget."""

import errno
import json
import os
import random
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from omegaconf import OmegaConf

import src.compare
import src.config
from src.comparing.protocol import Protocol
from src.comparing.record import read
from src.config import PROJECT, parse
from src.results import alone
from src.training.build import assemble
from src.training.result import weights_sha256
from tests import starting
from tests.starting import Command

SMALL = ["methods=[sgd,adam]", "trainer.epochs=2", "protocol.n_trials=3", "protocol.seeds=3"]


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "src.compare", *arguments]


def environment(outputs: Path) -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "FAIRSTEP_OUTPUTS": str(outputs)}


def compare(outputs: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return starting.run(command(*arguments)[1:], PROJECT, environment(outputs))


def typed(outputs: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Really started, as a user starts it."""
    return subprocess.run(
        command(*arguments), env=environment(outputs), capture_output=True, text=True, timeout=300
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    outputs = tmp_path_factory.mktemp("outputs")
    ran = typed(outputs, *SMALL)
    assert ran.returncode == 0, ran.stderr
    return outputs


def folder(outputs: Path) -> Path:
    (place,) = (outputs / "comparisons").iterdir()
    return place


def test_what_it_leaves(finished: Path) -> None:
    place = folder(finished)
    assert place.name == "sgd-adam-digits-mlp"
    comparison = json.loads((place / "comparison.json").read_text())
    runs = [json.loads(line) for line in (place / "runs.jsonl").read_text().splitlines()]
    assert len(runs) == 2 * 2 * 3  # methods, tuned and default, seeds
    assert {one["seed"] for one in runs} == {1000, 1001, 1002}
    assert all(len(found["trials"]) == 3 for found in comparison["searches"])
    assert [comparison["pairs"][0][side] for side in "ab"] == comparison["methods"]
    assert comparison["sentence"]
    assert (place / "report.html").is_file()


def test_common_random_numbers(finished: Path) -> None:
    """Seed k gives every method the same initial weights; another seed gives others."""
    weights: dict[int, set[str]] = {}
    for one in (folder(finished) / "runs").iterdir():
        config = parse(OmegaConf.load(one / "config.yaml"))
        weights.setdefault(config.seed, set()).add(weights_sha256(assemble(config).model))
    assert len(weights) == 3
    assert all(len(found) == 1 for found in weights.values())
    assert len(set.union(*weights.values())) == 3


def test_the_test_set_is_evaluated_once_per_run_and_the_ledger_says_so(finished: Path) -> None:
    place = folder(finished)
    lines = [json.loads(line) for line in (place / "ledger.jsonl").read_text().splitlines()]
    tested = [one["detail"] for one in lines if one["event"] == "test set evaluated"]
    assert len(tested) == len(set(tested)) == 12
    for trial in (finished / "sweeps").glob("*/trial-*/result.json"):
        result = json.loads(trial.read_text())
        assert result["at_end"] == {}
        assert not any(name.startswith("test") for name in result["final"])


def test_again_it_only_prints(finished: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in folder(finished).rglob("*")}
    ran = compare(finished, *SMALL)
    assert ran.returncode == 0, ran.stderr
    assert "searching" not in ran.stdout
    assert "adam" in ran.stdout
    assert {path: path.stat().st_mtime_ns for path in folder(finished).rglob("*")} == before


def test_a_finished_record_stands_beside_no_earlier_page(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a kill before the last page is drawn would leave that of the look before it."""
    place = shutil.copytree(folder(finished), tmp_path / "made")
    done = read(place)

    class Ended:
        def __init__(self, plan: object, folder: Path, at_look: Callable[[Any], None], *_: Any):
            self.at_look = at_look

        def steps(self) -> Iterator[Any]:
            self.at_look(self)
            raise KeyboardInterrupt
            yield

    monkeypatch.setattr("src.comparing.rounds.Rounds", Ended)
    monkeypatch.setattr("src.comparing.verdict.draft", lambda *_: done)
    asked = json.loads((place / "protocol.json").read_text())
    plan = SimpleNamespace(settings=lambda: asked, hash=lambda: done.hash)
    assert src.compare._known(place, plan) == done
    with pytest.raises(KeyboardInterrupt):
        next(src.compare._conduct(plan, place, {}, "", lambda: ""))
    assert read(place) == done
    assert src.compare._known(place, plan) is None


def killed_and_whole(
    root: Path, arguments: list[str], chance: random.Random, longest: float
) -> dict[str, object]:
    """Kill a command ten times, each after 1 s to `longest`, and run it to its end.

    Returns:
        What it finds, which is what the undisturbed command finds.
    """
    whole = compare(root / "whole", *arguments)
    assert whole.returncode == 0, whole.stderr
    for _ in range(10):
        process = Command(command(*arguments)[1:], PROJECT, environment(root / "killed"))
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=chance.uniform(1, longest))
        process.kill()
        process.wait()
    ran = compare(root / "killed", *arguments)
    assert ran.returncode == 0, ran.stderr
    found = findings(root / "killed")
    assert found == findings(root / "whole")
    return found


@pytest.mark.slow
def test_a_first_comparison_is_not_withheld_for_too_few_complete_trials(tmp_path: Path) -> None:
    """All defaults, but that the first look is the last."""
    ran = compare(tmp_path, "methods=[sgd,adam]", "protocol.seconds=0.001")
    assert ran.returncode == 0, ran.stderr
    comparison = json.loads((folder(tmp_path) / "comparison.json").read_text())
    assert [look["seeds"] for look in comparison["looks"]] == [10]
    assert "few trials" not in [doubt["check"] for doubt in comparison["withheld"]]
    for search in comparison["searches"]:
        states = {trial["state"] for trial in search["trials"]}
        assert (len(search["trials"]), states <= {"complete", "diverged"}) == (16, True)
    lines = ran.stdout.splitlines()
    told = [line for line in lines if line.startswith("searched")]
    assert len(told) == 2 * 3  # searches of each method
    assert all(line.endswith("left") for line in told)


@pytest.mark.slow
def test_two_workers_find_what_one_finds(finished: Path, tmp_path: Path) -> None:
    """To the bit; their seconds are marked, because they were measured side by side."""
    ran = compare(tmp_path, *SMALL, "n_jobs=2")
    assert ran.returncode == 0, ran.stderr
    assert findings(tmp_path) == findings(finished)
    records = [*folder(tmp_path).glob("runs/*/provenance.json")]
    assert any(json.loads(record.read_text())["shared"] for record in records), "one worker alone"
    timing = json.loads((folder(tmp_path) / "comparison.json").read_text())["timing"]
    assert not timing["valid"] and "workers shared" in timing["text"]


@pytest.mark.slow
def test_killed_at_any_moment_it_gives_the_same_verdict(tmp_path: Path) -> None:
    """SIGKILL to the command in its searches and its runs; what it left at work ends by itself."""
    arguments = ["methods=[sgd,momentum,adam]", "trainer.epochs=3", "protocol.n_jobs=2"]
    arguments += ["pruner=asha"]  # whose decisions a kill must not change
    arguments += ["protocol.n_trials=12", "protocol.seeds=6"]
    killed_and_whole(tmp_path, arguments, random.Random(1), longest=8)


@pytest.mark.slow
def test_killed_between_looks_it_gives_the_same_looks(tmp_path: Path) -> None:
    """... and the same words and tables; asked for an added method, it trains only that."""
    arguments = ["methods=[momentum,nesterov]", "model=logreg", "trainer.epochs=2", "pruner=none"]
    arguments += ["protocol.n_trials=4", "protocol.looks=[6,12,24]", "protocol.margin=0.0001"]
    found = killed_and_whole(tmp_path, arguments, random.Random(2), longest=8)
    before = {path: path.stat().st_mtime_ns for path in folder(tmp_path / "whole").glob("runs/*/*")}
    more = ["methods=[momentum,nesterov,sgd]", *arguments[1:], f"protocol.name={found['name']}"]
    ran = compare(tmp_path / "whole", *more)
    assert ran.returncode == 0, ran.stderr
    after = {path: path.stat().st_mtime_ns for path in folder(tmp_path / "whole").glob("runs/*/*")}
    assert {path: after[path] for path in before} == before
    assert any("sgd-tuned" in str(path) for path in after.keys() - before.keys())


def findings(outputs: Path) -> dict[str, object]:
    """All of a comparison that does not depend on clocks and folders."""
    comparison = json.loads((folder(outputs) / "comparison.json").read_text())
    trials = [
        [(trial["params"], trial["state"], trial["value"]) for trial in found["trials"]]
        for found in comparison["searches"]
    ]
    lines = [
        {key: value for key, value in line.items() if "seconds" not in key}
        for line in comparison["table"]
    ]
    kept = ("name", "sentence", "basis", "withheld", "looks", "methods", "target", "hash")
    for pair in comparison["pairs"]:  # of seconds, whether they may be compared depends on others
        pair["speeds"] = [speed for speed in pair["speeds"] if speed["by"] == "steps"]
    lines.append(comparison["pairs"])
    return {**{key: comparison[key] for key in kept}, "trials": trials, "table": lines}


Here = Callable[..., tuple[int, str, str]]


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Here:
    """Calls the entry in this process; returns the exit status and what it printed."""

    def call(outputs: Path, *arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(src.compare, "OUTPUTS", outputs)
        monkeypatch.setattr(src.config, "OUTPUTS", outputs)
        monkeypatch.setattr(sys, "argv", [str(src.compare.__file__), *arguments])
        status: int | str | None = 0
        try:
            src.compare.main()
        except SystemExit as leaving:
            status = leaving.code
        assert isinstance(status, int)
        return status, *capsys.readouterr()

    return call


def test_another_comparison_of_the_same_name_is_refused(finished: Path, here: Here) -> None:
    status, _, line = here(
        finished, *SMALL, "model.hidden_sizes=[9]", "protocol.name=sgd-adam-digits-mlp"
    )
    assert status == 1
    assert "model.hidden_sizes was [100], is [9]" in line
    assert len(line.splitlines()) == 1


def test_only_the_plan(tmp_path: Path, here: Here) -> None:
    """Nothing is trained, and no folder made."""
    status, told, _ = here(tmp_path, "methods=[sgd,adam]", "dry_run=true")
    assert status == 0
    assert "3 searches of 16 trials, and more (up to 15)" in told
    assert "96 to 480 trials in all" in told
    assert "80 runs. Winners that can't be told apart go on to 20, 40, 80 and 160" in told
    assert list(tmp_path.iterdir()) == []


def test_it_is_left_to_a_process_in_the_background(
    finished: Path, tmp_path: Path, here: Here
) -> None:
    """That finds the same; the same command then shows what was found."""
    ran = compare(tmp_path, *SMALL, "detach=true")
    assert ran.returncode == 0, ran.stderr
    [pid] = re.findall(r"left to process (\d+) on ", ran.stdout)
    log, deadline = folder(tmp_path) / "submitter.log", time.monotonic() + 300
    assert f"follow:  tail -f {log}\n" in ran.stdout
    while works(int(pid)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert "report: " in log.read_text()
    assert findings(tmp_path) == findings(finished)
    status, told, _ = here(tmp_path, *SMALL, "detach=true")
    assert status == 0
    assert "report: " in told and "left to process" not in told


def works(pid: int) -> bool:
    """Whether a process has more to do; if it has not, nobody may have asked how it ended."""
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


def test_nothing_is_left_to_a_second_process(tmp_path: Path, here: Here) -> None:
    place = tmp_path / "comparisons" / "mine"
    place.mkdir(parents=True)
    storage = f"hydra.sweeper.storage=sqlite:///{tmp_path}/studies.db"
    with alone(place):
        status, _, line = here(tmp_path, *SMALL, "protocol.name=mine", storage, "detach=true")
    assert (status, line) == (1, f"error: {place}: another process is working there\n")
    assert not (place / "submitter.log").exists()


def test_help_names_methods_and_every_key_of_the_protocol() -> None:
    ran = subprocess.run(command("--help"), capture_output=True, text=True, timeout=60, check=True)
    for key in Protocol.model_fields:
        line = next(line for line in ran.stdout.splitlines() if line.startswith(f"protocol.{key}="))
        assert "#" in line, key
    assert "adamw" in ran.stdout
    assert "torch/adam" in ran.stdout


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["methods=[adam]"], "two different methods"),
        (["methods=[adam,adamm]"], "adamm: no such file"),
        (["methods=[sgd,adam]", "protocol.seeds=1"], "protocol.seeds=1"),
        (["methods=[sgd,adam]", "protocol.sedes=3"], "sedes"),
        (["methods=[sgd,adam]", "trainer.epoch=3"], "trainer.epoch"),
        (["methods=[sgd,adam]", "protocol.reference=lion"], "protocol.reference=lion"),
        (["methods=[sgd,adam]", "optimizer.lr=0.1"], "sgd: there is nothing left to search"),
        (["methods=[momentum,adam]", "optimizer.lr=-1"], "lr must be a number >= 0, got -1"),
        (["methods=[sgd,adam]", "data=mnist", "data.root=/nowhere"], "/nowhere/MNIST is missing"),
        (["methods=[sgd,adam]", "detach=maybe"], "detach=maybe: input should be"),
        (["methods=[momentum,adam]", "optimizer.lr=-1", "detach=true"], "lr must be a number"),
    ],
)
def test_bad_input(tmp_path: Path, here: Here, arguments: list[str], named: str) -> None:
    status, _, line = here(tmp_path, *arguments)
    assert status == 1
    assert named in line
    assert len(line.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_bad_input_in_a_process(tmp_path: Path) -> None:
    ran = typed(tmp_path, "methods=[adam,adamm]")
    assert (ran.returncode, len(ran.stderr.splitlines())) == (1, 1)
    assert list(tmp_path.iterdir()) == []


def test_interrupted(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The line that goes on can be pasted, whatever was given."""

    def interrupt(overrides: list[str]) -> None:
        raise KeyboardInterrupt

    given = ["methods=[sgd,adam]", "data.root='a b'"]
    monkeypatch.setattr(sys, "argv", [str(src.compare.__file__), *given])
    monkeypatch.setattr(src.compare, "compare", interrupt)
    monkeypatch.delenv("FAIRSTEP_OUTPUTS", raising=False)
    with pytest.raises((SystemExit, KeyboardInterrupt)):
        src.compare.main()
    line = capsys.readouterr().err.splitlines()[0]
    start = "interrupted; this goes on: "
    assert line.startswith(start)
    assert shlex.split(line.removeprefix(start)) == ["python", "-m", "src.compare", *given]


def test_a_disk_that_is_full_ends_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(plan: object, folder: Path, *more: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(folder / "runs.jsonl"))

    monkeypatch.setattr(src.compare, "OUTPUTS", tmp_path)
    monkeypatch.setattr(src.compare, "_conduct", full)
    monkeypatch.setattr(sys, "argv", ["compare", "methods=[sgd,adam]", "protocol.name=mine"])
    with pytest.raises(SystemExit) as leaving:
        src.compare.main()
    assert leaving.value.code == 1
    place = tmp_path / "comparisons" / "mine" / "runs.jsonl"
    line = f"error: {place}: No space left on device; the same command goes on\n"
    assert capsys.readouterr().err == line
