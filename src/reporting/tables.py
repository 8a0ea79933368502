"""The table of a comparison: on the terminal, and as LaTeX, Markdown, CSV and Parquet."""

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from src.comparing.record import Comparison, Reached, Row, Summary
from src.console import stdout
from src.files import write_whole

WIDE = 150  # columns of a terminal that has room for the whole table
QUANTITIES = {
    "test_loss": "test loss",
    "test_accuracy": "test accuracy",
    "steps_to_target": "steps to target",
    "seconds_to_target": "seconds to target",
    "area": "area under the curve",
}
LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "±": r"$\pm$",
    "–": "--",
    "−": "$-$",
}


def quantities(metric: str) -> dict[str, str]:
    """The columns of numbers and their headings; a metric outside QUANTITIES comes first."""
    label = metric.replace("val_", "validation_").replace("train_", "training_").replace("_", " ")
    return QUANTITIES if metric in QUANTITIES else {metric: label, **QUANTITIES}


def heading(comparison: Comparison) -> list[str]:
    """The heading of `cells`; a dagger marks seconds that may not be compared."""
    dagger = "" if comparison.timing.valid else "†"
    plain = quantities(comparison.metric).values()
    names = [name + dagger if "seconds" in name else name for name in plain]
    return ["rank", "method", "n", "diverged", *names]


def cells(comparison: Comparison) -> list[list[str]]:
    """Tuned methods, best first, then their defaults; mean ± standard deviation."""
    table = []
    for row in ordered(comparison):
        label = row.method if row.kind == "tuned" else f"{row.method} (default)"
        counts = ["" if count is None else str(count) for count in (row.n, row.diverged)]
        values = [value(row.of(key), row.n) for key in quantities(comparison.metric)]
        table.append([rank_of(comparison, row), label, *counts, *values])
    return table


def ordered(comparison: Comparison) -> list[Row]:
    """The table's rows in rank order, tuned ones first."""
    names = comparison.methods

    def position(row: Row) -> tuple[bool, int]:
        ranked = row.method in names
        return row.kind != "tuned", names.index(row.method) if ranked else len(names)

    return sorted(comparison.table, key=position)


def rank_of(comparison: Comparison, row: Row) -> str:
    names = comparison.methods
    ranked = row.kind == "tuned" and row.method in names
    return str(names.index(row.method) + 1) if ranked else "–"


def value(summary: Summary, n: int | None = None) -> str:
    """`mean ± std`, and the number of runs that reached the target unless all did."""
    if summary.mean is None:
        return "–"
    text = number(summary.mean) if summary.std is None else spread(summary.mean, summary.std)
    if isinstance(summary, Reached) and summary.reached != n:
        text += f" ({summary.reached} of {n})"
    return text


def number(value: float) -> str:
    return f"{value:.4g}"


def spread(mean: float, std: float) -> str:
    """Both to the same decimal place: the second digit of the standard deviation."""
    if not std:
        return f"{number(mean)} ± 0"
    decimals = max(0, 1 - int(f"{std:e}".partition("e")[2]))
    if decimals > 8:
        return f"{mean:.4g} ± {std:.2g}"
    return f"{mean:.{decimals}f} ± {std:.{decimals}f}"


PAIRS = ("pair", "verdict", "difference", "95% interval", "p (Holm)", "effect",
         "could have found", "seeds to settle")  # fmt: skip


def pairs(comparison: Comparison) -> list[list[str]]:
    """A row of text for each pair, as headed by PAIRS."""
    return [
        [
            f"{pair.a} against {pair.b}",
            pair.verdict,
            _maybe(pair.difference),
            f"{_maybe(pair.low)} to {_maybe(pair.high)}",
            _maybe(pair.p_holm, "{:.2g}"),
            _maybe(pair.effect, "{:.2f}"),
            _maybe(pair.detectable, "{:.2g}"),
            _maybe(pair.seeds_to_settle, "{:d}"),
        ]
        for pair in comparison.pairs
    ]


def _maybe(value: float | None, form: str = "{:.3g}") -> str:
    return "–" if value is None else form.format(value).replace("-", "−")


def schedules(comparison: Comparison) -> str:
    """A sentence on the schedules that the methods had; empty where the record doesn't say."""
    by_method = comparison.schedules()
    if len({*by_method.values()}) <= 1:
        return "".join([f"The schedule of all was {text}." for text in by_method.values()][:1])
    parts = [f"{name} {text}" for name, text in by_method.items()]
    return f"Each method had its own schedule: {'; '.join(parts)}."


def print_protocol(settings: Mapping[str, Any], console: Console | None = None) -> None:
    """Print the settings that all methods share, a line for each group."""
    groups: dict[str, list[str]] = {}
    for key, setting in settings.items():
        group, _, name = key.removeprefix("method.").partition(".")
        groups.setdefault(group, []).append(f"{name}={setting}" if name else str(setting))
    console = console or stdout()
    for group, values in groups.items():
        console.print(f"{group}: {' '.join(values)}", markup=False)


def print_verdict(comparison: Comparison, console: Console | None = None) -> None:
    """Print the table, the pairs and the sentence."""
    console = console or stdout()
    wide = console.width >= WIDE
    console.print(_rich(heading(comparison), cells(comparison), None if wide else 6))
    if comparison.pairs:
        console.print()
        console.print(_rich(PAIRS, pairs(comparison), None if wide else 5))
    if not comparison.timing.valid:
        text = comparison.timing.text or "not measured"
        console.print(f"† seconds may not be compared: {text}", markup=False)
    if text := schedules(comparison):
        console.print(text, markup=False)
    for doubt in comparison.withheld:
        console.print(f"withheld: {doubt.text}", markup=False)
    console.print(f"\n{comparison.sentence}", style="bold", markup=False)


def _rich(names: Sequence[str], rows: Iterable[Sequence[str]], most: int | None) -> Table:
    """A terminal's table of the first `most` columns; the page shows all."""
    table = Table(box=None)
    for name in names[:most]:
        is_text = name in ("method", "pair", "verdict")
        table.add_column(name, justify="left" if is_text else "right", no_wrap=is_text)
    for row in rows:
        table.add_row(*(Text(_line(text)) for text in row[:most]))
    return table


def _line(text: object) -> str:
    return re.sub(r"\s+", " ", str(text))


def write_tables(comparison: Comparison, folder: Path) -> None:
    """Write `table.tex`, `table.md`, `table.csv` and `table.parquet`."""
    names, rows = heading(comparison), cells(comparison)
    withheld = [f"Withheld: {_line(doubt.text)}" for doubt in comparison.withheld]
    tex = latex(names, rows, withheld)
    md = "".join(f"{escape_markdown(reason)}\n\n" for reason in withheld) + markdown(names, rows)
    write_whole(folder / "table.tex", tex.encode())
    write_whole(folder / "table.md", md.encode())
    write_whole(folder / "table.csv", csv_text(flat(comparison)).encode())
    write_whole(folder / "table.parquet", parquet(comparison))


def latex(names: Sequence[str], rows: Iterable[Sequence[str]], notes: Iterable[str] = ()) -> str:
    """The table for LaTeX's booktabs package; notes stand below the rows."""
    notes = [*notes]
    below = [r"\midrule"] if notes else []
    below += [rf"\multicolumn{{{len(names)}}}{{l}}{{{escape_latex(note)}}} \\" for note in notes]
    lines = [" & ".join(map(escape_latex, row)) + r" \\" for row in (names, *rows)]
    form = "".join("l" if name == "method" else "r" for name in names)
    top, *body = lines
    parts = [rf"\begin{{tabular}}{{{form}}}", r"\toprule", top, r"\midrule", *body,
             *below, r"\bottomrule", r"\end{tabular}"]  # fmt: skip
    return "\n".join(parts) + "\n"


def escape_latex(text: str) -> str:
    return "".join(LATEX.get(letter, letter) for letter in _line(text)).replace(
        "†", r"\textsuperscript{\dag}"
    )


def markdown(names: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """The table in GitHub's Markdown, with its special characters escaped."""
    rule = ["---" if name == "method" else "---:" for name in names]
    escaped = [[escape_markdown(_line(cell)) for cell in row] for row in (names, *rows)]
    lines = [escaped[0], rule, *escaped[1:]]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def escape_markdown(text: str) -> str:
    return re.sub(r"([\\`*_{}\[\]<>#|~$&])", r"\\\1", text)


def flat(comparison: Comparison) -> list[list[Any]]:
    """The table with unrounded numbers, a column each, heading first."""
    keys = quantities(comparison.metric)
    parts = [(key, part) for key in keys for part in ("mean", "std", "reached")
             if part != "reached" or "target" in key]  # fmt: skip
    names = ["rank", "method", "kind", "n", "diverged", *(f"{key}_{part}" for key, part in parts)]
    rows: list[list[Any]] = [names]
    for row in ordered(comparison):
        rank = rank_of(comparison, row)
        values = [getattr(row.of(key), part, None) for key, part in parts]
        fixed = [int(rank) if rank.isdigit() else None, row.method, row.kind]
        rows.append([*fixed, row.n, row.diverged, *values])
    return rows


def csv_text(rows: Iterable[Sequence[Any]]) -> str:
    """The rows as CSV; an apostrophe keeps a spreadsheet from running a text as a formula."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    for row in rows:
        writer.writerow([_field(value) for value in row])
    return file.getvalue()


def _field(value: Any) -> Any:
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")):
        return f"'{value}"
    return value


def parquet(comparison: Comparison) -> bytes:
    """The table as Parquet; integers, numbers and texts keep their types if values are missing."""
    import pyarrow as pa
    from pyarrow import parquet as files

    names, *rows = flat(comparison)
    integers = {"rank", "n", "diverged", "steps_to_target_reached", "seconds_to_target_reached"}
    types = {name: pa.int64() if name in integers else pa.float64() for name in names}
    types |= {"method": pa.string(), "kind": pa.string()}
    columns = [pa.array([row[n] for row in rows], types[name]) for n, name in enumerate(names)]
    out = io.BytesIO()
    files.write_table(pa.table(columns, names=names), out)
    return out.getvalue()
