"""The tables of a comparison, against what stands in them by hand."""

import csv
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from pyarrow import parquet as files
from rich.console import Console
from scipy import stats

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
    "p_holm": 0.0234, "test": "Wilcoxon signed-rank", "effect": -1.234, "detectable": 0.0567,
    "seeds_to_settle": 1200, "searches_to_settle": None, "verdict": "undecided",
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
        "rank", "method", "n", "diverged", "test loss ↓", "test accuracy ↑", "steps to target ↓",
        "seconds to target ↓", "area under the curve ↓",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("facts", "arrows"),
    [
        ({"metric": "test_accuracy", "direction": "maximize"}, "↓↑↓↓↓"),
        ({"metric": "val_loss", "direction": "maximize"}, "↑↓↑↓↓↓"),
        ({"metric": "mine", "direction": "maximize"}, "↑↓↑↓↓↓"),
        ({"metric": "test_loss", "target": {"metric": "val_accuracy"}}, "↓↑↓↓↑"),
    ],
)
def test_each_column_says_which_way_is_better(
    comparison: dict[str, Any], facts: dict[str, Any], arrows: str
) -> None:
    """The verdict's own as the comparison says, the others as their metric is."""
    names = tables.heading(made({**comparison, **facts}))[4:]
    assert "".join(name[-1] for name in names) == arrows


def test_seconds_that_may_not_be_compared_are_marked(comparison: dict[str, Any]) -> None:
    comparison["timing"] = {"valid": False}
    assert [name for name in tables.heading(made(comparison)) if "†" in name] == [
        "seconds to target† ↓"
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
    names = tables.quantities(Comparison(name="x", methods=[], metric=metric))
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
    table = files.read_table(io.BytesIO(tables.parquet(tables.flat(made(comparison)))))
    names, *rows = tables.flat(made(comparison))
    assert [[*row.values()] for row in table.to_pylist()] == rows
    types = dict(zip(table.column_names, map(str, table.schema.types), strict=True))
    whole = {"rank", "n", "diverged", "steps_to_target_reached", "seconds_to_target_reached"}
    assert {name for name, kind in types.items() if kind == "int64"} == whole
    assert {name for name, kind in types.items() if kind == "large_string"} == {"method", "kind"}
    assert {types[name] for name in names} == {"int64", "large_string", "double"}


def test_pairs(comparison: dict[str, Any]) -> None:
    """The difference and its interval to the second digit of the interval's half width, 0.0125."""
    assert tables.pairs(made(comparison)) == [
        ["b against a", "undecided", "−0.012", "−0.020 to 0.005", "0.023", "4", "1,200 seeds"],
    ]
    assert tables.pair_heading(made(comparison)) == [
        "pair", "verdict", "difference in test loss ↓", "95% interval", "p (corrected)", "seeds",
        "would settle it",
    ]  # fmt: skip
    comparison["pairs"] = [{**PAIR, "low": 0.1, "high": 0.1, "difference": 0.1}]
    assert tables.pairs(made(comparison))[0][2:4] == ["0.1", "0.1 to 0.1"]
    comparison["pairs"] = [{"a": "b", "b": "a", "difference": None}]
    assert tables.pairs(made(comparison)) == [["b against a", "", "–", "–", "–", "–"]]


def test_pairs_with_speeds_and_a_margin(comparison: dict[str, Any]) -> None:
    speed = {"ratio": 0.5, "low": 0.25, "high": 0.75, "verdict": "sooner", "p_holm": 0.01}
    speeds = [speed, speed, speed, {**speed, "by": "seconds", "ratio": 0.6}]
    settled = {**PAIR, "verdict": "worse", "within_margin": True, "seeds_to_settle": None}
    comparison["pairs"] = [{**settled, "speeds": speeds}]
    comparison |= {"margin": {"text": "5%", "value": 0.0123}, "target": {"value": 0.2},
                   "protocol": {"protocol.seeds": "auto"}}  # fmt: skip
    found = made(comparison)
    assert tables.pair_heading(found)[3:] == [
        "interval", "steps to the target", "seconds to the target", "p (corrected)", "seeds"
    ]  # fmt: skip
    (row,) = tables.pairs(found)
    assert row[1] == "worse by less than the margin"
    assert row[4:6] == ["sooner: 0.50× (0.25 to 0.75)", "sooner: 0.60× (0.25 to 0.75)"]
    notes = " ".join(tables.pair_notes(found))
    assert "surely within the margin of 5% = 0.0123" in notes
    assert "to a validation loss of 0.2," in notes
    names, values = tables.flat_pairs(found)
    flat = dict(zip(names, values, strict=True))
    assert (flat["steps_ratio"], flat["seconds_ratio"]) == (0.5, 0.6)
    assert (flat["steps_verdict"], flat["within_margin"]) == ("sooner", True)


def test_what_looks_saved(comparison: dict[str, Any]) -> None:
    comparison |= {"most_runs": 320, "looks": [{"seeds": 10, "runs": 20}]}
    assert tables.saved(made(comparison)) == ""  # and nothing was settled
    comparison["pairs"][0] = {**PAIR, "verdict": "better"}
    assert tables.saved(made(comparison)).startswith("20 runs of tuned methods were made")
    assert "it would have been up to 320" in printed(comparison)
    assert tables.saved(made({**comparison, "most_runs": 20})) == ""
    assert tables.saved(made({**comparison, "missing": ["a look"]})) == ""
    assert "still missing: a look" in printed({**comparison, "missing": ["a look"]})


def test_flat_pairs_hold_whole_numbers(comparison: dict[str, Any]) -> None:
    comparison["pairs"].append({"a": "x", "b": "y"})
    doubts = [{"method": "y", "text": "y is odd"}]
    facts = {**comparison, "direction": "maximize", "withheld": doubts}
    names, first, second = tables.flat_pairs(made(facts))
    about: dict[str, Any] = {"metric": "test_loss", "direction": "maximize"}
    about["within_margin"] = False
    assert dict(zip(names, first, strict=True)) == {**PAIR, **about, "in_doubt": False}
    about["in_doubt"] = True
    empty = {**dict.fromkeys(PAIR), **about, "a": "x", "b": "y", "test": "", "verdict": ""}
    assert dict(zip(names, second, strict=True)) == empty


def runs(values: list[float | None], metric: str) -> list[dict[str, Any]]:
    return [{"method": "b", "seed": seed, metric: value} for seed, value in enumerate(values)]


@pytest.mark.parametrize("metric", ["test_loss", "test_accuracy"])
def test_each_mean_has_its_interval(comparison: dict[str, Any], metric: str) -> None:
    """As SciPy finds it for the values themselves; a run without a value counts nowhere."""
    values = np.random.default_rng(3).normal(0.9, 0.02, 12).tolist()
    mean, std = float(np.mean(values)), float(np.std(values, ddof=1))
    comparison["table"][3][metric] = {"mean": mean, "std": std}
    facts = {**comparison, "metric": metric, "runs": runs([None, *values], metric)}
    names, *rows = tables.flat_means(made(facts))
    row = dict(zip(names, rows[0], strict=True))
    found = stats.bootstrap((values,), np.mean, n_resamples=40_000, method="BCa", rng=1)
    low, high = found.confidence_interval
    tolerance = 0.04 * (high - low)
    assert row["low"] == pytest.approx(low, abs=tolerance)
    assert row["high"] == pytest.approx(high, abs=tolerance)
    assert {key: row[key] for key in ("method", "kind", "metric", "n", "mean", "std")} == {
        "method": "b", "kind": "tuned", "metric": metric, "n": 12, "mean": mean, "std": std
    }  # fmt: skip
    assert [row[-2:] for row in rows[1:]] == [[None, None]] * 3
    shown = tables.means(made(facts))
    arrow = "↑" if metric == "test_accuracy" and facts.get("direction") == "maximize" else "↓"
    assert shown[0] == ["method", "n", f"mean {metric.replace('_', ' ')} {arrow}", "95% interval"]
    assert shown[1] == ["b", "12", f"{mean:.3f}", f"{row['low']:.3f} to {row['high']:.3f}"]
    assert [row[0] for row in shown[1:]] == ["b", "a", "b (default)", "a (default)"]


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
    assert lines[0].endswith("area under the curve ↓")
    assert lines[1].split()[:2] == ["1", "b"]
    assert "would settle it" in lines[6]
    assert "b against a" in lines[7]
    assert "1,200 seeds" in lines[7]
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
    assert "95% interval" in narrow
    assert "p (corrected)" not in narrow


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
    tables.print_verdict(made(comparison))
    lines = capsys.readouterr().out.splitlines()
    plain = ["† seconds may not be compared: " + "[i]a[/i] 5 " * 30,
             "withheld: " + "[u]why[/u] 7 " * 30]  # fmt: skip
    assert [line for line in lines if "[" in line and "\x1b" not in line][:2] == plain
    assert lines[-1] == (f"\x1b[1m{sentence}\x1b[0m" if terminal else sentence)
    assert ("area under the curve" in " ".join(lines)) is not terminal
    assert terminal or "\x1b" not in " ".join(lines)


def test_names_are_left_and_whole_and_numbers_right(comparison: dict[str, Any]) -> None:
    """However narrow the terminal is."""
    comparison["pairs"] = [
        {**PAIR, "verdict": "better"},
        {**PAIR, "difference": 12.3, "low": 12, "high": 12.6},
    ]
    lines = printed(comparison).splitlines()
    first, default = (next(n for n in lines if name in n) for name in (" b ", " b (default)"))
    assert first.index(" b ") == default.index(" b (default)")
    better, undecided = (next(n for n in lines if word in n) for word in (" better", "undecided"))
    assert better.index("b against a") == undecided.index("b against a")
    assert better.index(" better") + 1 == undecided.index("undecided")
    assert better.index("−0.012") + len("−0.012") == undecided.index("12.30") + len("12.30")
    assert "b (default)" in printed(comparison, 30) and "undecided" in printed(comparison, 40)


def test_the_files_of_the_table(comparison: dict[str, Any], tmp_path: Path) -> None:
    """With what withholds the verdict above or below, where a reader of the file can't miss it."""
    comparison["withheld"] = [{"text": "5% _of_\nit"}]
    tables.write_tables(made(comparison), tmp_path)
    tex = (tmp_path / "table.tex").read_text().splitlines()
    assert tex[0] == r"\begin{tabular}{rlrrrrrrr}" and tex[-1] == r"\end{tabular}"
    assert tex[-3] == r"\multicolumn{9}{l}{Withheld: 5\% \_of\_ it} \\"
    assert tex[-4] == (
        r"\multicolumn{9}{l}{$\downarrow$: less is better; $\uparrow$: more is better} \\"
    )
    assert len(tex) == 13  # four rows among them
    md = (tmp_path / "table.md").read_text().splitlines()
    assert md[:2] == [r"Withheld: 5% \_of\_ it", ""] and md[2].startswith("| rank | method | n |")
    assert [row.split(" | ")[1] for row in md[4:8]] == ["b", "a", "b (default)", "a (default)"]
    assert md[8:] == ["", "↓: less is better; ↑: more is better"]
    with (tmp_path / "table.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["method"], row["kind"], row["test_loss_mean"]) for row in rows] == [
        ("b", "tuned", "0.25"), ("a", "tuned", "0.5"), ("b", "default", "3.0"),
        ("a", "default", ""),
    ]  # fmt: skip
    for name, values in (("pairs", tables.flat_pairs), ("means", tables.flat_means)):
        names, *rows = values(made(comparison))
        assert (tmp_path / f"{name}.csv").read_text() == tables.csv_text([names, *rows])
        kept = files.read_table(tmp_path / f"{name}.parquet").to_pylist()
        assert [[*row.values()] for row in kept] == rows
        tex, md = ((tmp_path / f"{name}.{kind}").read_text() for kind in ("tex", "md"))
        extra = 3 * (name == "pairs")  # a difference, what is withheld, what would settle it
        assert tex.count("\n") == len(rows) + 9 + extra and r"Withheld: 5\% \_of\_ it" in tex
        assert md.startswith(r"Withheld: 5% \_of\_ it") and md.count("\n") == (
            len(rows) + 6 + 2 * extra
        )
        assert ("of the first method against the second" in tex) is bool(extra)
    kept = files.read_table(tmp_path / "table.parquet").to_pylist()
    assert [row["test_loss_mean"] for row in kept] == [0.25, 0.5, 3.0, None]


def test_a_single_method_has_no_table_of_pairs(comparison: dict[str, Any], tmp_path: Path) -> None:
    comparison["pairs"] = []
    tables.write_tables(made(comparison), tmp_path)
    assert {path.stem for path in tmp_path.iterdir()} == {"table", "means"}


@pytest.mark.parametrize("valid", [True, False])
def test_a_mark_is_explained_in_the_file_that_holds_it(
    comparison: dict[str, Any], tmp_path: Path, valid: bool
) -> None:
    comparison["timing"] = {"valid": valid, "text": "busy"}
    tables.write_tables(made(comparison), tmp_path)
    said = {path.name: path.read_text() for path in tmp_path.glob("*.[tm]*")}
    assert {*said} == {f"{name}.{kind}" for name in ("table", "pairs", "means")
                       for kind in ("tex", "md")}  # fmt: skip
    for name, text in said.items():
        marked = name.startswith("table") and not valid
        assert ("seconds may not be compared: busy" in text) is marked
        assert (r"\textsuperscript{\dag}" in text or "†" in text) is marked
        assert text.count("less is better; ") == 1
    assert "seconds may not be compared: busy" not in printed({**comparison, "timing": {
        "valid": True, "text": "busy"}})  # fmt: skip


# Signs that mean something somewhere, and letters of every kind.
SPECIAL = r"\`*_{}[]()#+-.!|~$&<>%^@:;,'=/?" + '"±–−†↓↑  \n\t💥é漢'
PAIRED = ["--", "''", "```", "[x]", "<script>", "https://a.b", ":smile:", "200%", "n" * 200]
LETTERS = st.characters(exclude_categories=["Cs", "Cc", "Co", "Cn", "Zl", "Zp"])
ALL = "".join([*SPECIAL, *PAIRED])
NAMES = st.lists(st.sampled_from([*SPECIAL, *PAIRED]) | LETTERS, max_size=12).map("".join)


def read_latex(text: str) -> str:
    """What LaTeX prints, for the few macros that we write; a bare special sign raises."""
    macros = {
        r"\textbackslash{}": "\\", r"\textasciitilde{}": "~", r"\textasciicircum{}": "^",
        r"\textasciigrave{}": "`", r"\textless{}": "<", r"\textgreater{}": ">",
        r"\textbar{}": "|", r"\textsuperscript{\dag}": "†", r"$\downarrow$": "↓",
        r"$\uparrow$": "↑", r"$\pm$": "±", "$-$": "−", "{[}": "[", "{]}": "]",
        "--": "–", "{}": "",
        **{"\\" + sign: sign for sign in "{}$&#%_"},
    }  # fmt: skip
    shown = ""
    while text:
        macro = next((macro for macro in macros if text.startswith(macro)), text[0])
        assert macro in macros or macro not in r"\{}$&#%_~^<>|[]`", text
        shown += macros.get(macro, macro)
        text = text[len(macro) :]
    return shown


@given(NAMES)
@example(ALL)
def test_latex_prints_a_name_as_it_is(name: str) -> None:
    escaped = tables.escape_latex(name)
    assert read_latex(escaped) == tables.line(name)
    bare = escaped.replace("--", "") if "–" in name else escaped
    assert not re.search("--|''|,,|``", bare), "two signs that LaTeX prints as one"


@given(NAMES, NAMES)
@example(ALL, "[x]")
def test_markdown_shows_a_name_as_it_is(first: str, second: str) -> None:
    """As a reader of Markdown that isn't ours sees it, in a table of two columns."""
    text = tables.markdown(["method", "n"], [[first, second]])
    cells = []
    for token in MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text):
        if token.type == "inline":
            assert {child.type for child in token.children or []} <= {"text", "text_special"}
            cells.append("".join(child.content for child in token.children or []))
    assert cells == ["method", "n", tables.line(first).strip(), tables.line(second).strip()]
    assert not re.search(r"(?<!\\):[\w+-]+:", text)


@given(st.lists(NAMES, min_size=1, max_size=4))
@example([ALL])
def test_csv_and_parquet_hold_a_name_as_it_is(names: list[str]) -> None:
    """In CSV behind an apostrophe where a spreadsheet would run it."""
    read = list(csv.reader(io.StringIO(tables.csv_text([["method"], *([name] for name in names)]))))
    guarded = [f"'{name}" if name[:1] in (*"=+-@\t\r",) and name else name for name in names]
    assert [row[0] if row else "" for row in read] == ["method", *guarded]
    kept = files.read_table(io.BytesIO(tables.parquet([["method"], *([name] for name in names)])))
    assert kept["method"].to_pylist() == names


@given(NAMES, NAMES)
@example(ALL, "[x]")
def test_the_terminal_shows_a_name_as_it_is(first: str, second: str) -> None:
    for terminal in (False, True):
        console = Console(file=io.StringIO(), width=3000, soft_wrap=True, force_terminal=terminal,
                          color_system=None, emoji=False, highlight=False)  # fmt: skip
        tables.print_table(console, ["method", "n"], [[first, "7"], [second, "12"]])
        shown = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
        for name, text in ((first, shown[1]), (second, shown[2])):
            assert tables.line(name).strip() in text
        assert len(shown) == 3


def test_a_terminal_breaks_numbers_rather_than_names() -> None:
    console = Console(file=io.StringIO(), width=30, force_terminal=True, color_system=None)
    tables.print_table(console, ["method", "n"], [["n" * 20, "0.5 ± 0.1 (3 of 4)"]])
    assert "n" * 20 in console.file.getvalue()  # type: ignore[attr-defined]
