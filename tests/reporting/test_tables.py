"""The tables of a comparison, against what stands in them by hand."""

import csv
import io
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet as files
from rich.console import Console

from src.comparing.record import Comparison, Reached, Summary
from src.reporting import tables


def line(method: str, kind: str, loss: float | None, **more: Any) -> dict[str, Any]:
    known: dict[str, Any] = {"mean": loss, "std": None if loss is None else 0.02}
    none = {"mean": None, "std": None}
    return {
        "method": method, "kind": kind, "n": 4, "diverged": 1, "test_loss": known,
        "test_accuracy": none, "steps_to_target": {"mean": 30.0, "std": 5.0, "reached": 3},
        "seconds_to_target": {**none, "reached": 0}, "area": {"mean": 2.5, "std": 0.0}, **more,
    }  # fmt: skip


PAIR = {
    "a": "b", "b": "a", "n": 4, "difference": -0.01234, "low": -0.02, "high": 0.005, "p": 0.01,
    "p_holm": 0.0234, "effect": -1.234, "detectable": 0.0567, "seeds_to_settle": 1200,
    "verdict": "undecided",
}  # fmt: skip


def made(facts: dict[str, Any]) -> Comparison:
    return Comparison.model_validate({"name": "n", **facts})


@pytest.fixture
def comparison() -> dict[str, Any]:
    """b is before a; the table's lines are in no order."""
    return {
        "metric": "test_loss",
        "methods": ["b", "a"],
        "table": [
            line("a", "default", None),
            line("a", "tuned", 0.5),
            line("b", "default", 3.0),
            line("b", "tuned", 0.25),
        ],
        "pairs": [PAIR],
        "timing": {"valid": True},
        "withheld": [],
        "sentence": "b is better than a.",
    }


def test_cells(comparison: dict[str, Any]) -> None:
    reached, never = "30.0 ± 5.0 (3 of 4)", "–"
    more = ["–", reached, never, "2.5 ± 0"]
    assert tables.cells(made(comparison)) == [
        ["1", "b", "4", "1", "0.250 ± 0.020", *more],
        ["2", "a", "4", "1", "0.500 ± 0.020", *more],
        ["–", "b (default)", "4", "1", "3.000 ± 0.020", *more],
        ["–", "a (default)", "4", "1", "–", *more],
    ]
    assert tables.heading(made(comparison)) == [
        "rank", "method", "n", "diverged", "test loss", "test accuracy", "steps to target",
        "seconds to target", "area under the curve",
    ]  # fmt: skip


def test_seconds_that_may_not_be_compared_are_marked(comparison: dict[str, Any]) -> None:
    comparison["timing"] = {"valid": False}
    assert [name for name in tables.heading(made(comparison)) if "†" in name] == [
        "seconds to target†"
    ]


@pytest.mark.parametrize(
    ("metric", "first", "count"),
    [
        ("val_accuracy", "validation accuracy", 6),
        ("train_loss", "training loss", 6),
        ("test_accuracy", "test loss", 5),
        ("test_loss", "test loss", 5),
    ],
)
def test_the_verdicts_metric_is_a_column(metric: str, first: str, count: int) -> None:
    names = tables.quantities(metric)
    assert (next(iter(names.values())), len(names)) == (first, count)
    if count == 6:
        assert next(iter(names)) == metric


def test_flat_rows_hold_whole_numbers(comparison: dict[str, Any]) -> None:
    names, *rows = tables.flat(made(comparison))
    assert names == [
        "rank", "method", "kind", "n", "diverged", "test_loss_mean", "test_loss_std",
        "test_accuracy_mean", "test_accuracy_std", "steps_to_target_mean", "steps_to_target_std",
        "steps_to_target_reached", "seconds_to_target_mean", "seconds_to_target_std",
        "seconds_to_target_reached", "area_mean", "area_std",
    ]  # fmt: skip
    tail = [None, None, 30.0, 5.0, 3, None, None, 0, 2.5, 0.0]
    assert rows == [
        [1, "b", "tuned", 4, 1, 0.25, 0.02, *tail],
        [2, "a", "tuned", 4, 1, 0.5, 0.02, *tail],
        [None, "b", "default", 4, 1, 3.0, 0.02, *tail],
        [None, "a", "default", 4, 1, None, None, *tail],
    ]
    read = list(csv.reader(io.StringIO(tables.csv_text([names, *rows]))))
    assert read[1][:6] == ["1", "b", "tuned", "4", "1", "0.25"]
    assert read[4][5] == ""


def test_a_row_of_a_method_that_is_not_ranked(comparison: dict[str, Any]) -> None:
    comparison["table"].insert(0, line("x", "tuned", 0.1))
    names = [(row.method, row.kind) for row in tables.ordered(made(comparison))]
    assert names[:3] == [("b", "tuned"), ("a", "tuned"), ("x", "tuned")]
    assert tables.cells(made(comparison))[2][0] == "–"


def test_parquet_keeps_types(comparison: dict[str, Any]) -> None:
    table = files.read_table(io.BytesIO(tables.parquet(made(comparison))))
    names, *rows = tables.flat(made(comparison))
    assert [[*row.values()] for row in table.to_pylist()] == rows
    types = dict(zip(table.column_names, map(str, table.schema.types), strict=True))
    whole = {"rank", "n", "diverged", "steps_to_target_reached", "seconds_to_target_reached"}
    assert {name for name, kind in types.items() if kind == "int64"} == whole
    assert {name for name, kind in types.items() if kind == "string"} == {"method", "kind"}
    assert {types[name] for name in names} == {"int64", "string", "double"}


def test_pairs(comparison: dict[str, Any]) -> None:
    assert len(tables.PAIRS) == 8
    assert tables.pairs(made(comparison)) == [
        ["b against a", "undecided", "−0.0123", "−0.02 to 0.005", "0.023", "−1.23", "0.057",
         "1200"],
    ]  # fmt: skip
    comparison["pairs"] = [{"a": "b", "b": "a", "difference": None}]
    assert tables.pairs(made(comparison)) == [
        ["b against a", "", "–", "– to –", "–", "–", "–", "–"]
    ]


@pytest.mark.parametrize(
    ("mean", "std", "text"),
    [
        (0.123456, 0.00996, "0.1235 ± 0.0100"),
        (1.5, 1.0, "1.5 ± 1.0"),
        (1234.5, 10.4, "1234 ± 10"),
        (0.5, 1e-8, "0.5 ± 1e-08"),
        (0.5, 2e-7, "0.50000000 ± 0.00000020"),
        (12345.678, 0.0, "1.235e+04 ± 0"),
    ],
)
def test_a_spread_has_two_digits(mean: float, std: float, text: str) -> None:
    assert tables.spread(mean, std) == text


def test_a_value_says_how_many_reached_it() -> None:
    assert tables.value(Reached(mean=5.0, std=None, reached=3), 3) == "5"
    assert tables.value(Reached(mean=None, reached=0), 3) == "–"
    assert tables.value(Summary(mean=5.0), 3) == "5"


def printed(comparison: dict[str, Any], width: int = 200) -> str:
    console = Console(file=io.StringIO(), width=width, soft_wrap=True)
    tables.print_verdict(made(comparison), console)
    return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]


def test_what_is_printed(comparison: dict[str, Any]) -> None:
    lines = printed(comparison).splitlines()
    assert lines[0].split()[:4] == ["rank", "method", "n", "diverged"]
    assert lines[0].endswith("area under the curve")
    assert lines[1].split()[:2] == ["1", "b"]
    assert "seeds to settle" in lines[6]
    assert "b against a" in lines[7]
    assert "1200" in lines[7]
    assert lines[-1] == "b is better than a."
    comparison.update(timing={"valid": False, "text": "busy"}, withheld=[{"text": "[b]why"}])
    held = printed(comparison)
    assert "† seconds may not be compared: busy\n" in held
    assert "withheld: [b]why\n" in held
    comparison["pairs"] = []
    assert "verdict" not in printed(comparison)
    comparison["timing"] = {}
    assert "† seconds may not be compared: not measured\n" in printed(comparison)


def test_a_narrow_terminal_shows_the_first_columns(comparison: dict[str, Any]) -> None:
    """The page shows all."""
    assert "steps to target" in printed(comparison, tables.WIDE)
    narrow = printed(comparison, tables.WIDE - 1)
    assert "test accuracy" in narrow
    assert "steps to target" not in narrow
    assert "p (Holm)" in narrow
    assert "effect" not in narrow


def test_the_protocol_is_printed_by_groups() -> None:
    settings = {
        "methods": ["a", "b"], "protocol.seeds": 3, "protocol.metric": "test_loss", "seed": 0,
        "method.a.optimizer.lr": 0.1, "method.a.optimizer.beta": 0.9, "method.b.space": "x",
    }  # fmt: skip
    console = Console(file=io.StringIO(), width=200)
    tables.print_protocol(settings, console)
    assert console.file.getvalue().splitlines() == [  # type: ignore[attr-defined]
        "methods: ['a', 'b']",
        "protocol: seeds=3 metric=test_loss",
        "seed: 0",
        "a: optimizer.lr=0.1 optimizer.beta=0.9",
        "b: space=x",
    ]


def test_latex_and_markdown() -> None:
    names, rows = ["method", "n"], [["a_b", "1\n2"], ["c", "3"]]
    assert tables.latex(names, rows, ["held: 5%"]) == (
        "\\begin{tabular}{lr}\n\\toprule\nmethod & n \\\\\n\\midrule\na\\_b & 1 2 \\\\\n"
        "c & 3 \\\\\n\\midrule\n\\multicolumn{2}{l}{held: 5\\%} \\\\\n\\bottomrule\n"
        "\\end{tabular}\n"
    )
    assert tables.latex(names, [["x", "4†"]]).splitlines()[3:6] == [
        "\\midrule", "x & 4\\textsuperscript{\\dag} \\\\", "\\bottomrule"
    ]  # fmt: skip
    assert tables.escape_latex("– −1") == "-- $-$1"
    assert tables.markdown(names, rows) == (
        "| method | n |\n| --- | ---: |\n| a\\_b | 1 2 |\n| c | 3 |\n"
    )
    assert tables.escape_markdown("a|b*c_d`<e>~$&#[]{}\\") == (
        "a\\|b\\*c\\_d\\`\\<e\\>\\~\\$\\&\\#\\[\\]\\{\\}\\\\"
    )
    assert tables.csv_text([["@x", "+1", "\ty", "a=b", "", 1.5]]) == "'@x,'+1,'\ty,a=b,,1.5\n"
    assert "'\rz" in tables.csv_text([["\rz"]])


@pytest.mark.parametrize("terminal", [False, True])
def test_what_stands_on_standard_output(
    comparison: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    terminal: bool,
) -> None:
    """Texts as they are, in one line each; in a pipe the whole table, and no colours."""
    monkeypatch.setenv("COLUMNS", "80")
    if terminal:
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("TERM", "xterm")
    sentence = "[b]x[/b] is better than 'y' by 0.5" + " and longer" * 20
    comparison.update(sentence=sentence, timing={"valid": False, "text": "[i]a[/i] 5 " * 30})
    comparison["withheld"] = [{"text": "[u]why[/u] 7 " * 30}]
    tables.print_protocol({"protocol.seeds": "[b]3[/b] " * 30})
    tables.print_verdict(made(comparison))
    lines = capsys.readouterr().out.splitlines()
    plain = ["protocol: seeds=" + "[b]3[/b] " * 30,
             "† seconds may not be compared: " + "[i]a[/i] 5 " * 30,
             "withheld: " + "[u]why[/u] 7 " * 30]  # fmt: skip
    assert [line for line in lines if "[" in line and "\x1b" not in line][:3] == plain
    assert lines[-1] == (f"\x1b[1m{sentence}\x1b[0m" if terminal else sentence)
    assert ("area under the curve" in " ".join(lines)) is not terminal
    assert terminal or "\x1b" not in " ".join(lines)


def test_names_are_left_and_whole_and_numbers_right(comparison: dict[str, Any]) -> None:
    """However narrow the terminal is."""
    comparison["pairs"] = [{**PAIR, "verdict": "better"}, {**PAIR, "difference": 12.3}]
    lines = printed(comparison).splitlines()
    first, default = (next(n for n in lines if name in n) for name in (" b ", " b (default)"))
    assert first.index(" b ") == default.index(" b (default)")
    better, undecided = (next(n for n in lines if word in n) for word in (" better", "undecided"))
    assert better.index("b against a") == undecided.index("b against a")
    assert better.index(" better") + 1 == undecided.index("undecided")
    assert better.index("−0.0123") + len("−0.0123") == undecided.index("12.3") + len("12.3")
    assert "b (default)" in printed(comparison, 30) and "undecided" in printed(comparison, 40)


def test_the_files_of_the_table(comparison: dict[str, Any], tmp_path: Path) -> None:
    """With what withholds the verdict above or below, where a reader of the file can't miss it."""
    comparison["withheld"] = [{"text": "5% _of_\nit"}]
    tables.write_tables(made(comparison), tmp_path)
    tex = (tmp_path / "table.tex").read_text().splitlines()
    assert tex[0] == r"\begin{tabular}{rlrrrrrrr}" and tex[-1] == r"\end{tabular}"
    assert tex[-3] == r"\multicolumn{9}{l}{Withheld: 5\% \_of\_ it} \\"
    assert len(tex) == 12  # four rows among them
    md = (tmp_path / "table.md").read_text().splitlines()
    assert md[:2] == [r"Withheld: 5% \_of\_ it", ""] and md[2].startswith("| rank | method | n |")
    assert [line.split(" | ")[1] for line in md[4:]] == ["b", "a", "b (default)", "a (default)"]
    with (tmp_path / "table.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["method"], row["kind"], row["test_loss_mean"]) for row in rows] == [
        ("b", "tuned", "0.25"), ("a", "tuned", "0.5"), ("b", "default", "3.0"),
        ("a", "default", ""),
    ]  # fmt: skip
    kept = files.read_table(tmp_path / "table.parquet").to_pylist()
    assert [row["test_loss_mean"] for row in kept] == [0.25, 0.5, 3.0, None]
