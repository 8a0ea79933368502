"""A maximized metric from end to end: searches, runs, verdict and report are mirrored."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from src.comparing.record import Timing, read
from src.reporting.figures import Panel, figures
from src.training.evaluation import evaluate
from tests.comparing.conftest import runs_of

MAXIMIZE = ("objective.metric=val_accuracy", "objective.direction=maximize",
            "protocol.metric=test_accuracy", "protocol.name=high")  # fmt: skip
Both = tuple[tuple[dict[str, Any], Path], tuple[dict[str, Any], Path]]


@pytest.fixture
def both(compared: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Both:
    """A comparison by a loss, and one by an accuracy, in which the loss is 1 - accuracy."""

    def error(*parts: Any) -> dict[str, float]:
        accuracy = evaluate(*parts)["accuracy"]
        return {"loss": 1 - accuracy, "accuracy": accuracy}

    monkeypatch.setattr("src.training.evaluation.evaluate", error)
    # Seconds differ from run to run, and on an idle machine they would be ranked and drawn.
    monkeypatch.setattr("src.comparing.verdict._timing", lambda runs: Timing())
    given = ("protocol.n_trials=4", "pruner=asha", "trainer.evaluate_every=100")
    return compared(*given, "protocol.name=low"), compared(*given, *MAXIMIZE)


def test_all_is_mirrored(both: Both) -> None:
    """What is found is the same; only the signs of differences are not."""
    (low, low_folder), (high, high_folder) = both
    same_searches(low, high)
    same_runs(low_folder, high_folder)
    assert (low["direction"], high["direction"]) == ("minimize", "maximize")
    assert low["methods"] == high["methods"]
    mirrored = low["sentence"].replace("lower", "higher").replace("test loss", "test accuracy")
    assert mirrored == high["sentence"]
    for line, other in zip(low["table"], high["table"], strict=True):
        for name, value in line.items():
            if "seconds" not in name:
                assert other[name] == pytest.approx(value), name
    for pair, other in zip(low["pairs"], high["pairs"], strict=True):
        assert (pair["a"], pair["b"], pair["verdict"]) == (other["a"], other["b"], other["verdict"])
        for name, sign in (("difference", -1), ("effect", -1), ("p", 1), ("p_holm", 1)):
            assert other[name] == pytest.approx(sign * pair[name]), name
        assert (other["low"], other["high"]) == pytest.approx((-pair["high"], -pair["low"]))
    same_pictures(low_folder, high_folder)
    best_so_far(high, high_folder)


def same_searches(low: dict[str, Any], high: dict[str, Any]) -> None:
    """Also what the sweep itself says is best."""
    for search, other in zip(low["searches"], high["searches"], strict=True):
        assert search["method"] == other["method"]
        best = []
        for one, sign in ((search, 1), (other, -1)):
            trials = [trial for trial in one["trials"] if trial["state"] == "complete"]
            won = min(trials, key=lambda trial: sign * trial["value"])
            sweep = Path(won["folder"]).parent
            assert yaml.safe_load((sweep / "best.yaml").read_text())["optimizer"]["lr"] == (
                pytest.approx(won["params"]["optimizer.lr"])
            )
            best.append(won["number"])
        assert best[0] == best[1]
        for trial, its in zip(search["trials"], other["trials"], strict=True):
            assert trial["state"] == its["state"]
            assert trial["params"] == its["params"]
            assert trial["value"] == pytest.approx(1 - its["value"])
    states = {trial["state"] for search in low["searches"] for trial in search["trials"]}
    assert states == {"complete", "pruned"}


def same_runs(low: Path, high: Path) -> None:
    for run, other in zip(runs_of(low), runs_of(high), strict=True):
        for name in ("method", "kind", "seed", "params", "test_loss", "test_accuracy", "status"):
            assert run[name] == other[name], name
        assert run["value"] == pytest.approx(1 - other["value"])
        assert run["steps_to_target"] == other["steps_to_target"]


def same_pictures(low: Path, high: Path) -> None:
    """An accuracy is drawn as an error, so that lower is better in every figure."""
    for figure, other in zip(figures(read(low)), figures(read(high)), strict=True):
        assert figure.key == other.key
        for panel, its in zip(figure.panels, other.panels, strict=True):
            sign = -1 if panel.title == "Differences between pairs" else 1
            if "seconds" not in f"{panel.title} {panel.x.label}".lower():
                assert drawn(its, sign) == pytest.approx(drawn(panel), nan_ok=True), panel.title
    names = {figure.key for figure in figures(read(high))}
    assert names >= {"ranking", "sensitivity", "budget", "trials", "slices", "stability"}


def best_so_far(comparison: dict[str, Any], folder: Path) -> None:
    """Each search's line falls where a trial is more accurate than all before it."""
    panels = [panel for figure in figures(read(folder)) for panel in figure.panels]
    (panel,) = [one for one in panels if one.title == "Best so far, as searched"]
    for series, search in zip(panel.series, comparison["searches"], strict=True):
        values = [one["value"] if one["state"] == "complete" else 0 for one in search["trials"]]
        best = [1 - max(values[:count]) for count in range(1, len(values) + 1)]
        assert (series.name, series.y) == (search["method"], pytest.approx(best))
    assert any(max(series.y) > min(series.y) for series in panel.series)


def drawn(panel: Panel, sign: int = 1) -> list[float]:
    numbers: list[float] = []
    for series in panel.series:
        low, high = (series.low, series.high)[::sign]
        numbers += [*(sign * x for x in series.x), *series.y]
        numbers += [*(sign * one for one in low), *(sign * one for one in high)]
    return numbers
