"""What the page of a comparison shows."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from src.comparing.record import Comparison
from src.comparing.words import against
from src.reporting.figures import Figure, ended
from src.reporting.page import FOOTER, Page, Section, Table, Verdict, render
from src.reporting.tables import (
    cells,
    flat,
    heading,
    notes,
    pair_heading,
    pairs,
    saved,
    schedules,
)

SHORT = {
    "ranking": "Ranking",
    "looks": "Looks",
    "curves": "Curves",
    "sensitivity": "Learning rate",
    "budget": "Tuning",
    "trials": "Trials",
    "target": "Target",
    "importance": "Importance",
    "slices": "Slices",
    "stability": "Stability",
}
BESIDE = " The table lies there as LaTeX, Markdown, CSV and Parquet."


def page(comparison: Comparison, figures: Sequence[Figure]) -> str:
    """The whole file."""
    drawn = [
        Section(
            figure.key, figure.title, SHORT[figure.key], figure=figure,
            data=[("runs.csv", _runs(comparison))] if figure.key == "ranking" else (),
        )
        for figure in figures
    ]  # fmt: skip
    sections = [_tables(comparison), *drawn, *_records(comparison)]
    again = " Drawn again with python -m src.report."
    return render(
        Page(comparison.name, _about(comparison), sections, _verdict(comparison),
             FOOTER + BESIDE + again)
    )  # fmt: skip


def _about(comparison: Comparison) -> list[str]:
    trials = sum(len(search.trials) for search in comparison.searches)
    return [
        comparison.created[:16].replace("T", " "),
        counted(len(comparison.methods), "method"),
        counted(trials, "trial"),
        counted(len(comparison.runs), "run"),
        f"protocol {comparison.hash[:12]}",
    ]


def counted(number: int, name: str) -> str:
    return f"{number:,} {name}{'' if number == 1 else 's'}"


def _verdict(comparison: Comparison) -> Verdict:
    reasons = [
        (", ".join(part for part in (doubt.check.replace("_", " "), doubt.method) if part),
         doubt.text)
        for doubt in comparison.withheld
    ]  # fmt: skip
    more = [comparison.basis, saved(comparison), *map(_still, comparison.missing)]
    sentence = comparison.sentence or "This comparison holds no verdict."
    sound = [name for name in comparison.methods if not against(comparison.withheld, name)]
    return Verdict(sentence, reasons, [text for text in more if text], partly=len(sound) > 1)


def _still(text: str) -> str:
    return f"Not finished: still missing is {text}."


def _tables(comparison: Comparison) -> Section:
    caption = "Mean ± standard deviation over fresh seeds."
    target = comparison.target
    if target.value is not None:
        metric = target.metric.replace("val_", "validation ").replace("_", " ")
        caption += f" The target is a {metric} of {target.value:.4g}."
    names, paired = heading(comparison), pair_heading(comparison)
    tables = [Table(names, cells(comparison), whole=True)]
    if comparison.pairs:
        tables.append(Table(paired, pairs(comparison), "Pairs", whole=True))
    marks = notes(comparison, [*names, *(paired if comparison.pairs else [])])
    captions = [caption, *filter(None, [schedules(comparison)]), *map(ended, marks)]
    files = [("table.csv", flat(comparison))]
    return Section("table", "Table", "Table", captions, tables=tables, data=files)


def _runs(comparison: Comparison) -> Iterable[list[Any]]:
    tested = [f"test_{name}" for name in comparison.directions]
    names = ["method", "kind", "search", "seed", "status", *tested, "steps", "train_seconds",
             "steps_to_target", "seconds_to_target", "area"]  # fmt: skip
    names += {comparison.metric} - {*names}
    yield names
    for group in dict.fromkeys((run.method, run.kind) for run in comparison.runs):
        yield from ([run.of(name) for name in names] for run in comparison.of(*group))


def _records(comparison: Comparison) -> list[Section]:
    protocol = [[key, text(value)] for key, value in comparison.protocol.items()]
    environment = [[key, text(value)] for key, value in comparison.environment.items()]
    ledger = [[event.time, event.event, event.detail] for event in comparison.ledger]
    fields = ("setting", "value")
    return [
        record("protocol", "Protocol", "What was fixed before anything ran.", fields, protocol,
               open_=True),
        record("ledger", "Ledger", "What was done, in order; the test set is opened once.",
               ("time", "event", "detail"), ledger),
        record("environment", "Environment", "Where it ran.", fields, environment),
    ]  # fmt: skip


def record(
    key: str, title: str, caption: str, names: Sequence[str], rows: list[list[str]],
    *, open_: bool = False,
) -> Section:  # fmt: skip
    """Lines of a record, folded."""
    if not rows:
        return Section(key, title, title, [caption, "Nothing was recorded."])
    return Section(
        key, title, title, [caption], tables=[Table(names, rows)],
        data=[(f"{key}.csv", [list(names), *rows])], folded=counted(len(rows), "line"), open=open_,
    )  # fmt: skip


def text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
