"""The tables of a comparison: on the terminal, and as LaTeX, Markdown, CSV and Parquet."""

import math
import re
from collections.abc import Container, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from src.comparing.record import UNSHOWABLE, Comparison, Pair, Reached, Row, Speed, Summary
from src.comparing.words import is_held, metric_name, speed, verdict
from src.console import stdout
from src.files import write_whole
from src.metrics import Direction, quantity
from src.reporting.figures_numbers import Cost, mean_interval

WIDE = 150  # columns of a terminal that has room for the whole table
QUANTITIES = {  # beside what the loss measures
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
    "[": "{[}",  # at the start of a row it would be an argument of the row before
    "]": "{]}",
    "`": r"\textasciigrave{}",
    "†": r"\textsuperscript{\dag}",
    "↓": r"$\downarrow$",
    "↑": r"$\uparrow$",
    "±": r"$\pm$",
    "–": "--",
    "−": "$-$",
}


ARROWS = "↓: less is better; ↑: more is better"
LEFT = (
    "method",
    "pair",
    "problem",
    "verdict",
    "steps to the target",
    "seconds to the target",
)  # columns of words
TEXTS = ("method", "kind", "metric", "direction", "a", "b", "test", "verdict", "steps_verdict",
         "seconds_verdict", "problem", "doubt", "withheld", "unbeaten")  # fmt: skip
WHOLE = ("rank", "n", "diverged", "seeds_to_settle", "searches_to_settle", "wins", "ties",
         "losses", "unbeaten_on", "reached")  # fmt: skip


def quantities(comparison: Comparison) -> dict[str, str]:
    """The columns of numbers and their headings; a metric of another set than the test set comes
    first."""
    metric = comparison.metric
    label = metric.replace("val_", "validation_").replace("train_", "training_").replace("_", " ")
    tested = {f"test_{name}": f"test {name.replace('_', ' ')}" for name in comparison.directions}
    columns = {**tested, **QUANTITIES}
    return columns if metric in columns else {metric: label, **columns}


def heading(comparison: Comparison) -> list[str]:
    """The heading of `cells`; a dagger marks seconds that may not be compared."""
    return ["rank", "method", "n", "diverged", *_directed(comparison).values()]


def _directed(comparison: Comparison) -> dict[str, str]:
    """The headings of the columns of numbers, each with the direction that is better."""
    directed = {}
    for key, name in quantities(comparison).items():
        dagger = "†" if "seconds" in key and not comparison.timing.valid else ""
        arrow = "↑" if direction(comparison, key) == Direction.MAXIMIZE else "↓"
        directed[key] = f"{name}{dagger} {arrow}"
    return directed


def direction(comparison: Comparison, key: str) -> str:
    """Which way a column of numbers is better: minimize or maximize."""
    if key == comparison.metric:
        return comparison.direction
    return comparison.direction_of(comparison.target.metric if key == "area" else key)


def notes(comparison: Comparison, names: Iterable[str]) -> list[str]:
    """What explains the marks and words of a heading."""
    text = comparison.timing.text or "not measured"
    dagger = f"† seconds may not be compared: {text}"
    marked, paired = (any(word in name for name in names) for word in ("†", "difference in"))
    return [ARROWS, *([dagger] if marked else []), *(pair_notes(comparison) if paired else [])]


def cells(comparison: Comparison) -> list[list[str]]:
    """Tuned methods, best first, then their defaults; mean ± standard deviation."""
    table = []
    for row in ordered(comparison):
        label = _label(row.method, row.kind)
        counts = ["" if count is None else str(count) for count in (row.n, row.diverged)]
        values = [value(row.of(key), row.n) for key in quantities(comparison)]
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
    decimals = _decimals(std)
    if decimals > 8:
        return f"{mean:.4g} ± {std:.2g}"
    return f"{mean:.{decimals}f} ± {std:.{decimals}f}"


def _decimals(std: float) -> int:
    """The place of the second digit of a spread."""
    return max(0, 1 - int(f"{std:e}".partition("e")[2]))


def rounded(value: float | None, std: float | None) -> str:
    """A value to the place of the second digit of its spread, as `spread` rounds it."""
    if value is None:
        return "–"
    text = f"{value:.{_decimals(std)}f}" if std and _decimals(std) <= 8 else number(value)
    return text.replace("-", "−")


def pair_heading(comparison: Comparison) -> list[str]:
    """The heading of `pairs`, with the metric whose difference it is."""
    names = ["pair", "verdict", f"difference in {_directed(comparison)[comparison.metric]}"]
    names.append("interval" if comparison.by_looks else "95% interval")
    names += [f"{by} to the target" for by in _measured(comparison)]
    return [*names, "p (corrected)", "seeds", *(["would settle it"] if _open(comparison) else [])]


def _measured(comparison: Comparison) -> list[str]:
    """In what it was measured how soon a target is reached: steps, seconds."""
    speeds = (speed.by for pair in comparison.pairs for speed in pair.speeds)
    return [*dict.fromkeys(speeds)]


def _open(comparison: Comparison) -> bool:
    return any(pair.seeds_to_settle or pair.searches_to_settle for pair in comparison.pairs)


def _settles(pair: Pair) -> str:
    numbers = {"searches": pair.searches_to_settle, "seeds": pair.seeds_to_settle}
    return " and ".join(f"{number:,d} {name}" for name, number in numbers.items() if number) or "–"


def pair_notes(comparison: Comparison) -> list[str]:
    """What the columns of the pairs mean."""
    texts = ["difference and verdict: of the first method against the second"]
    margin = comparison.margin
    if margin.value is not None:
        of = f" = {margin.value:.3g}" if margin.text.endswith("%") else ""
        texts.append(f"equivalent: surely within the margin of {margin.text}{of}")
    held = [is_held(pair, comparison.withheld, comparison.measure) for pair in comparison.pairs]
    if any(held):
        texts.append("withheld: one of both methods is in doubt, or the margin; in brackets what "
                     "was found, and how soon is in doubt, too")  # fmt: skip
    if comparison.by_looks:
        texts.append("each interval holds for all pairs and all looks together, in 95% of "
                     "comparisons")  # fmt: skip
    if "steps" in _measured(comparison) and comparison.target.value is not None:
        name = metric_name(comparison.target.metric)
        texts.append(
            f"to the target: what the first method takes of what the second takes to a {name} of "
            f"{comparison.target.value:.4g}, with its interval; runs that never reach it count as "
            "slower than any that do; between two evaluations the curve is taken as straight"
        )
    if _open(comparison):
        searches = any(pair.searches_to_settle for pair in comparison.pairs)
        units = "seeds, or searches of each method," if searches else "seeds"
        texts.append(f"would settle it: about as many {units} as would probably show a "
                     "difference, or that it is within the margin")  # fmt: skip
    return texts


def pairs(comparison: Comparison) -> list[list[str]]:
    """A row of text for each pair, as `pair_heading` heads it."""
    rows = []
    for pair in comparison.pairs:
        wide = (
            (pair.high - pair.low) / 2 if pair.low is not None and pair.high is not None else None
        )
        low, high = (rounded(end, wide) for end in (pair.low, pair.high))
        rows.append([
            f"{pair.a} against {pair.b}",
            verdict(pair, comparison.withheld, comparison.measure),
            rounded(pair.difference, wide),
            f"{low} to {high}" if wide is not None else "–",
            *(speed(pair, by) for by in _measured(comparison)),
            _maybe(pair.p_holm, "{:.2g}"),
            _maybe(pair.n, "{:d}"),
            *([_settles(pair)] if _open(comparison) else []),
        ])  # fmt: skip
    return rows


def flat_pairs(comparison: Comparison) -> list[list[Any]]:
    """The pairs with unrounded numbers, heading first; differences are a - b."""
    names = ["a", "b", "metric", "direction", "n", "difference", "low", "high", "test", "p",
             "p_holm", "effect", "detectable", "seeds_to_settle", "searches_to_settle",
             "verdict", "within_margin", "in_doubt"]  # fmt: skip
    about = {"metric": comparison.metric, "direction": comparison.direction}
    doubts = comparison.withheld
    facts = [
        {**pair.model_dump(), **about, "in_doubt": is_held(pair, doubts, comparison.measure)}
        for pair in comparison.pairs
    ]
    for by in _measured(comparison):
        speeds = [pair.speed(by) or Speed() for pair in comparison.pairs]
        for key in ("ratio", "low", "high", "p_holm", "verdict"):
            names.append(f"{by}_{key}")
            for fact, found in zip(facts, speeds, strict=True):
                fact[f"{by}_{key}"] = getattr(found, key)
    return [names, *([fact[name] for name in names] for fact in facts)]


def flat_means(comparison: Comparison) -> list[list[Any]]:
    """Means of the verdict's metric with their 95% bootstrap intervals, unrounded, heading first.

    An interval is over the runs that have a value, as in the figure.
    """
    key, direction = comparison.metric, comparison.direction
    names = ["method", "kind", "metric", "direction", "n", "mean", "std", "low", "high"]
    rows: list[list[Any]] = [names]
    for row in ordered(comparison):
        runs, summary = comparison.of(row.method, row.kind), row.of(key)
        _, low, high = mean_interval(runs, Cost(key))
        if quantity(key) == "accuracy":  # its cost is the error
            low, high = 1 - high, 1 - low
        ends = [None if math.isnan(end) else end for end in (low, high)]
        n = sum(run.of(key) is not None for run in runs)
        rows.append([row.method, row.kind, key, direction, n, summary.mean, summary.std, *ends])
    return rows


def means(comparison: Comparison) -> list[list[str]]:
    """The means and their intervals as text, heading first."""
    name = f"mean {_directed(comparison)[comparison.metric]}"
    rows = [["method", "n", name, "95% interval"]]
    for method, kind, _, _, n, mean, std, low, high in flat_means(comparison)[1:]:
        ends = f"{rounded(low, std)} to {rounded(high, std)}"
        rows.append([_label(method, kind), str(n), rounded(mean, std), ends])
    return rows


def _label(method: str, kind: str) -> str:
    return method if kind == "tuned" else f"{method} (default)"


def _maybe(value: float | None, form: str = "{:.3g}") -> str:
    return "–" if value is None else form.format(value).replace("-", "−")


def schedules(comparison: Comparison) -> str:
    """A sentence on the schedules that the methods had; empty where the record doesn't say."""
    by_method = comparison.schedules()
    if len({*by_method.values()}) <= 1:
        return "".join([f"The schedule of all was {text}." for text in by_method.values()][:1])
    parts = [f"{name} {text}" for name, text in by_method.items()]
    return f"Each method had its own schedule: {'; '.join(parts)}."


def print_verdict(comparison: Comparison, console: Console | None = None) -> None:
    """Print the table, the pairs and the sentence."""
    console = console or stdout()
    wide = console.width >= WIDE
    _print_first(console, heading(comparison), cells(comparison), None if wide else 6)
    if comparison.pairs:
        console.print()
        _print_first(console, pair_heading(comparison), pairs(comparison), None if wide else 4)
    paired = pair_heading(comparison) if comparison.pairs else []
    for note in notes(comparison, [*heading(comparison), *paired]):
        console.print(note, markup=False)
    if text := schedules(comparison):
        console.print(text, markup=False)
    for doubt in comparison.withheld:
        console.print(f"withheld: {doubt.text}", markup=False)
    console.print(f"\n{comparison.sentence}", style="bold", markup=False)
    for text in (comparison.basis, saved(comparison)):
        if text:
            console.print(text, markup=False)
    for text in comparison.missing:
        console.print(f"still missing: {text}", markup=False)


def saved(comparison: Comparison) -> str:
    """What ending at a look saved; empty where it saved nothing."""
    most, looks = comparison.most_runs, comparison.looks
    if most is None or not looks or not looks[-1].runs < most or comparison.missing:
        return ""
    if not any(pair.verdict not in ("", "undecided") for pair in comparison.pairs):
        return ""  # nothing was settled that could have saved anything
    return (f"{looks[-1].runs:,} runs of tuned methods were made; had no look settled anything, "
            f"it would have been up to {most:,}.")  # fmt: skip


def _print_first(
    console: Console, names: Sequence[str], rows: Iterable[Sequence[str]], most: int | None
) -> None:
    """Print the first `most` columns; the page shows all."""
    print_table(console, names[:most], [row[:most] for row in rows])


def print_table(
    console: Console,
    names: Sequence[str],
    rows: Iterable[Sequence[str]],
    left: Container[str] = LEFT,
) -> None:
    """Print a table that fits on the terminal; elsewhere as `print_lines` does.

    Args:
        names: the heading.
        rows: of texts.
        left: columns of text, which aren't broken; the others are aligned at their right.
    """
    if not console.is_terminal:
        print_lines(console, names, rows, left)
        return
    table = Table(box=None)
    for name in names:
        justify: Literal["left", "right"] = "left" if name in left else "right"
        table.add_column(Text(line(name)), justify=justify, no_wrap=name in left)
    for row in rows:
        table.add_row(*(Text(line(text)) for text in row))
    console.print(table)


def print_lines(
    console: Console, names: Sequence[str], rows: Iterable[Sequence[str]], left: Container[str]
) -> None:
    """Print a line per row, however long, which can be searched and copied."""
    lines = [[line(text) for text in row] for row in (names, *rows)]
    widths = [max(map(cell_len, column)) for column in zip(*lines, strict=True)]
    at_left = [name in left for name in names]
    for texts in lines:
        text = "  ".join(map(_padded, texts, widths, at_left)).rstrip()
        console.print(text, markup=False, emoji=False, highlight=False, soft_wrap=True)


def _padded(text: str, width: int, at_left: bool) -> str:
    space = " " * (width - cell_len(text))
    return text + space if at_left else space + text


def line(text: object) -> str:
    """A text in one line, without characters that a terminal or a file takes for orders."""
    return re.sub(r"\s+", " ", UNSHOWABLE.sub("\ufffd", str(text)))


def write_tables(comparison: Comparison, folder: Path) -> None:
    """Write the ranked table, the pairs and the means, each as LaTeX, Markdown, CSV and Parquet."""
    tables = {
        "table": ([heading(comparison), *cells(comparison)], flat(comparison)),
        "pairs": ([pair_heading(comparison), *pairs(comparison)], flat_pairs(comparison)),
        "means": (means(comparison), flat_means(comparison)),
    }
    above = [f"Withheld: {line(doubt.text)}" for doubt in comparison.withheld]
    for name, ((names, *rows), values) in tables.items():
        if rows:  # a single method has no pairs
            write_table(folder, name, names, rows, values, above, notes(comparison, names))


def write_table(
    folder: Path, name: str, names: Sequence[str], rows: Sequence[Sequence[str]],
    values: Sequence[Sequence[Any]], above: Sequence[str] = (), below: Sequence[str] = (),
) -> None:  # fmt: skip
    """Write a table as LaTeX, Markdown, CSV and Parquet.

    Args:
        rows: of texts, headed by `names`, for people.
        values: unrounded, heading first, for programs.
        above, below: notes.
    """
    written = {
        "tex": latex(names, rows, [*below, *above]).encode(),
        "md": markdown(names, rows, above, below).encode(),
        "csv": csv_text(values).encode(),
        "parquet": parquet(values),
    }
    for suffix, content in written.items():
        write_whole(folder / f"{name}.{suffix}", content)


def latex(names: Sequence[str], rows: Iterable[Sequence[str]], below: Iterable[str] = ()) -> str:
    """The table for LaTeX's booktabs package; notes stand below the rows."""
    escaped = [[escape_latex(text) for text in row] for row in (names, *rows)]
    form = "".join("l" if name in LEFT else "r" for name in names)
    table = pd.DataFrame(escaped[1:], columns=escaped[0])
    text = str(table.to_latex(index=False, column_format=form))
    notes = [rf"\multicolumn{{{len(names)}}}{{l}}{{{escape_latex(note)}}} \\" for note in below]
    end = "\n".join([r"\midrule", *notes, r"\bottomrule"])
    return text.replace(r"\bottomrule", end) if notes else text


def escape_latex(text: str) -> str:
    apart = re.sub(r"([-',])(?=\1)", r"\1\0", line(text))  # two would be one other sign
    return "".join(LATEX.get(letter, letter) for letter in apart).replace("\0", "{}")


def markdown(
    names: Sequence[str],
    rows: Iterable[Sequence[str]],
    above: Iterable[str] = (),
    below: Iterable[str] = (),
) -> str:
    """The table in GitHub's Markdown between two kinds of notes."""
    rule = ["---" if name in LEFT else "---:" for name in names]
    escaped = [[escape_markdown(line(cell)) for cell in row] for row in (names, *rows)]
    table = [f"| {' | '.join(row)} |\n" for row in (escaped[0], rule, *escaped[1:])]
    before = [f"{escape_markdown(note)}\n\n" for note in above]
    after = [f"\n{escape_markdown(note)}\n" for note in below]
    return "".join([*before, *table, *after])


def escape_markdown(text: str) -> str:
    """Signs that mean something, and the colon before an emoji's name."""
    return re.sub(r"([\\`*_{}\[\]<>#|~$&]|:(?=[\w+-]+:))", r"\\\1", text)


def flat(comparison: Comparison) -> list[list[Any]]:
    """The table with unrounded numbers, a column each, heading first."""
    keys = quantities(comparison)
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
    table = pd.DataFrame([*rows], dtype=object).map(_field)
    return str(table.to_csv(header=False, index=False, lineterminator="\n"))


def _field(value: Any) -> Any:
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")):
        return f"'{value}"
    return value


def parquet(rows: Sequence[Sequence[Any]]) -> bytes:
    """Rows, heading first, as Parquet; columns keep their types where values are missing."""
    names, *values = rows
    table = pd.DataFrame(values, columns=names, dtype=object)
    return bytes(table.astype({name: _dtype(name) for name in names}).to_parquet(index=False))


def _dtype(name: str) -> str:
    if name in TEXTS:
        return "string"
    if name in ("within_margin", "in_doubt"):
        return "boolean"
    return "Int64" if name in WHOLE or name.endswith("_reached") else "Float64"
