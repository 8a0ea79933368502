"""The paths that the picture shows, and the picture's files."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from src.errors import InputError
from src.reporting import charts
from src.reporting.trajectories import Path2D, figure
from src.trajectories import cost, draw_all, follow, main, surfaces, tuned

SURFACES = {surface.name: surface for surface in surfaces()}


@pytest.mark.parametrize("name", SURFACES)
def test_minima_are_minima(name):
    """The gradient vanishes there and every neighbour is higher."""
    surface = SURFACES[name]
    assert bool(surface.minima) == (name != "Saddle")
    for minimum in surface.minima:
        x, y = (torch.tensor(float(value), dtype=torch.float64) for value in minimum)
        x.requires_grad_(), y.requires_grad_()
        surface.value(x, y).backward()
        assert abs(float(x.grad)) < 1e-3
        assert abs(float(y.grad)) < 1e-3
        here = surface.value(*minimum)
        angles = np.linspace(0, 2 * np.pi, 16)
        around = surface.value(
            minimum[0] + 0.05 * np.cos(angles), minimum[1] + 0.05 * np.sin(angles)
        )
        assert (around > here).all()


def test_a_path_is_of_the_points_that_a_method_is_judged_by():
    """The running mean of gradient descent's points, which sees gradients on its way there."""
    y = z = mean = np.array(SURFACES["Ravine"].start)
    expected = [mean]
    for n in range(1, 21):
        z = z - 0.01 * np.array([1.0, 50.0]) * y
        mean = mean + (z - mean) / n
        y = 0.1 * z + 0.9 * mean
        expected.append(mean)
    settings = {"_target_": "src.optimizers.ScheduleFreeSGD", "lr": 0.01}
    np.testing.assert_allclose(follow(settings, SURFACES["Ravine"], 20), expected, rtol=1e-12)
    assert not np.allclose(y, mean)


def test_a_path_has_a_length_of_its_own():
    settings = {"_target_": "src.optimizers.AdEMAMix", "lr": 0.1}
    ends = [follow({**settings, "total_steps": steps}, SURFACES["Ravine"], 9)[-1].tolist()
            for steps in (None, 9, 1)]  # fmt: skip
    assert ends[0] == ends[1] != ends[2]


def test_a_path_is_gradient_descent_computed_by_hand():
    surface = SURFACES["Ravine"]
    points = follow({"_target_": "src.optimizers.SGD", "lr": 0.01}, surface, 20)
    x, y = surface.start
    by_hand = [(x * (1 - 0.01) ** n, y * (1 - 0.5) ** n) for n in range(21)]
    np.testing.assert_allclose(points, by_hand, rtol=1e-12)


def test_a_path_that_runs_away_is_cut_and_never_chosen():
    surface = SURFACES["Ravine"]
    points = follow({"_target_": "src.optimizers.SGD", "lr": 10.0}, surface, 20)
    assert len(points) < 21
    assert cost(points, surface, 20) == np.inf
    rate, chosen = tuned("sgd", surface, 20)
    assert len(chosen) == 21
    assert rate < 2 / 50  # beyond 2 / (largest curvature) gradient descent diverges


def test_draws_page_and_files(tmp_path):
    draw_all(["sgd", "adam"], 5, tmp_path / "new" / "v1.2")
    assert (tmp_path / "new" / "v1.2.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "new" / "v1.2.pdf").read_bytes().startswith(b"%PDF")
    svg = (tmp_path / "new" / "v1.2.svg").read_text()
    page = (tmp_path / "new" / "v1.2.html").read_text()
    for word in ("Rosenbrock", "Beale", "Himmelblau", "Saddle", "Ravine", "5 steps in float64"):
        assert word in svg and word in page


def test_the_picture_shows_the_paths():
    """From the start, in their order; the contours are as high all along as their level."""
    surface = SURFACES["Ravine"]
    points = np.array([[-3.6, 1.2], [2.0, 0.5], [-1.0, 0.25]])
    drawn = figure([(surface, [Path2D("sgd", 0.03, points)])], "said.", "key")
    (panel,) = drawn.panels
    by_kind = {series.kind: series for series in panel.series}
    assert (by_kind["path"].x, by_kind["path"].y) == (points[:, 0].tolist(), points[:, 1].tolist())
    rows = charts.rows(panel, (-1.6, 1.6))
    path = [row for row in rows if row["k"] == "path"]
    assert [(row["x"], row["y"], row["i"]) for row in path] == [
        (-3.6, 1.2, 0), (2, 0.5, 1), (-1, 0.25, 2)
    ]  # fmt: skip
    assert [row.get("m") for row in path] == [None, None, 1]
    assert {(row["x"], row["y"]) for row in rows if row["k"] == "mark"} == {(-3.6, 1.2), (0, 0)}
    contours = [series for series in panel.series if series.kind == "contour"]
    assert len(contours) > 15
    for line in contours:
        heights = surface.value(np.array(line.x), np.array(line.y))
        assert np.ptp(heights) < 0.03 * heights.mean() + 0.1
    assert drawn.note == ("said.", "lr on Ravine: sgd 0.03")
    assert [row[1] for row in drawn.rows()][1:] == ["sgd"] * 3 + ["start", "minimum"]
    import altair as alt  # takes seconds

    alt.VConcatChart.from_dict(charts.drawing(drawn))
    alt.LayerChart.from_dict(charts.interactive(panel, "label"))


@pytest.mark.parametrize(
    ("arguments", "named"), [(["adamm"], "adamm: no such method"), (["--steps", "0"], "--steps=0")]
)
def test_bad_input_is_one_line(arguments, named):
    command = [sys.executable, "-m", "src.trajectories", *arguments]
    ran = subprocess.run(command, capture_output=True, text=True)
    assert ran.returncode == 1
    assert len(ran.stderr.splitlines()) == 1
    assert named in ran.stderr


def test_a_picture_that_cannot_be_written(tmp_path, monkeypatch, capsys):
    """The folder is a file: one line, and nothing beside it."""
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(sys, "argv", ["x", "sgd", "--steps=1", f"--out={tmp_path}/file/paths"])
    with pytest.raises(SystemExit) as leaving:
        main()
    assert leaving.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: --out={tmp_path}/file/paths: ")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_steps_that_are_none(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["x", "--steps=0"])
    with pytest.raises(SystemExit) as leaving:
        main()
    assert leaving.value.code == 1
    assert capsys.readouterr().err == "error: --steps=0: must be an integer >= 1\n"


def test_it_says_what_it_drew(tmp_path, monkeypatch, capsys):
    drawn = []
    monkeypatch.setattr("src.trajectories.draw_all", lambda *given: drawn.append(given))
    monkeypatch.setattr(sys, "argv", ["x", "sgd", "--steps=7", f"--out={tmp_path}/paths"])
    main()
    assert drawn == [(["sgd"], 7, tmp_path / "paths")]
    assert capsys.readouterr().out == f"drawn: {tmp_path}/paths.html, and as .png, .svg, .pdf\n"


def test_one_that_evaluates_a_point_itself() -> None:
    """On a quadratic, LBFGS is in the minimum after a few steps."""
    surface = SURFACES["Ravine"]
    points = follow({"_target_": "torch.optim.LBFGS", "lr": 1.0}, surface, 5)
    assert abs(points[-1]).max() < 1e-4


def test_the_names_of_methods_that_there_are() -> None:
    with pytest.raises(InputError, match=r"sgdd: no such method; .*muon.*sgd.*, torch/adadelta"):
        tuned("sgdd", surfaces()[0], 1)
