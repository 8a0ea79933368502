"""One HTML file that shows a comparison; it needs no other file, no network and no scripts."""

import base64
import hashlib
import json
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any

from src.comparing.record import Comparison, Doubt
from src.reporting.figures import Figure, reason_sentence
from src.reporting.figures_svg import COLORS, DASHES, MARKERS, frame, pointed, svg
from src.reporting.tables import PAIRS, cells, csv_text, flat, heading, pairs, schedules

HERE = Path(__file__).parent
TEXTUAL = {"method", "pair", "verdict", "good range", "setting", "value", "time", "event", "detail"}
SHORT = {
    "ranking": "Ranking",
    "curves": "Curves",
    "sensitivity": "Learning rate",
    "budget": "Tuning",
    "trials": "Trials",
    "target": "Target",
    "importance": "Importance",
    "slices": "Slices",
    "stability": "Stability",
}
VERDICTS = {"better", "worse", "undecided"}
FOOTER = (
    "<footer><p>Point at a figure, or focus it and use the arrow keys, to read values; press a "
    "method in a legend to hide it. The same figures lie beside this file as PNG and SVG in "
    "figures/, the table as LaTeX, Markdown, CSV and Parquet. Drawn again with "
    "python -m src.report.</p></footer>"
)


def page(comparison: Comparison, figures: Sequence[Figure]) -> str:
    """The whole file."""
    style, script = ((HERE / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    panels: list[dict[str, Any]] = []
    drawn = {figure.key: _figure(figure, panels, comparison) for figure in figures}
    # It holds no "<", so a name can't end the element.
    data = json.dumps(panels, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    title = escape(comparison.name)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_policy(style, script)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{style}</style>\n</head>\n<body>\n"
        '<a class="skip" href="#main">Skip to the content</a>\n'
        f"{_header(comparison)}\n<main id=\"main\" tabindex=\"-1\">\n{_nav(figures)}\n"
        f"{_tables(comparison)}\n{''.join(drawn.values())}\n{_records(comparison)}\n</main>\n"
        f"{FOOTER}\n"
        f'<script type="application/json" id="data">{data}</script>\n'
        f"<script>{script}</script>\n</body>\n</html>\n"
    )  # fmt: skip


def _policy(style: str, script: str) -> str:
    """A policy that loads nothing and runs only the page's own style and script."""
    hashes = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
              for text in (style, script))  # fmt: skip
    style_hash, script_hash = hashes
    return (
        f"default-src 'none'; style-src 'sha256-{style_hash}'; script-src 'sha256-{script_hash}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _header(comparison: Comparison) -> str:
    trials = sum(len(search.trials) for search in comparison.searches)
    about = [
        comparison.created[:16].replace("T", " "),
        _count(len(comparison.methods), "method"),
        _count(trials, "trial"),
        _count(len(comparison.runs), "run"),
        f"protocol {comparison.hash[:12]}",
    ]
    spans = "".join(f"<span>{escape(text)}</span>" for text in about if text)
    return (
        f"<header>\n<h1>{escape(comparison.name)}</h1>\n<p class=\"about\">{spans}</p>\n"
        f"{_verdict(comparison)}\n</header>"
    )  # fmt: skip


def _count(number: int, name: str) -> str:
    return f"{number:,} {name}{'' if number == 1 else 's'}"


def _verdict(comparison: Comparison) -> str:
    doubts = comparison.withheld
    state = "⚠ Verdict withheld" if doubts else "✓ Verdict"
    sentence = comparison.sentence or "This comparison holds no verdict."
    parts = [
        f'<div class="verdict{" held" if doubts else ""}" role="region" aria-label="Verdict">',
        f'<p class="state">{state}</p><p class="sentence">{escape(sentence)}</p>',
    ]
    if doubts:
        reasons = "".join(f"<li>{_reason(doubt)}</li>" for doubt in doubts)
        parts.append(
            f"<h2>Why it is withheld</h2><ul>{reasons}</ul>"
            "<p>What was measured is shown below; it doesn't support a verdict before this is "
            "settled.</p>"
        )
    return "".join(parts) + "</div>"


def _reason(doubt: Doubt) -> str:
    about = ", ".join(part for part in (doubt.check.replace("_", " "), doubt.method) if part)
    return f"<strong>{escape(about)}:</strong> {escape(doubt.text)}"


def _nav(figures: Sequence[Figure]) -> str:
    links = [("table", "Table"), *((figure.key, SHORT[figure.key]) for figure in figures)]
    links += [("protocol", "Protocol"), ("ledger", "Ledger"), ("environment", "Environment")]
    items = "".join(f'<li><a href="#{key}">{escape(title)}</a></li>' for key, title in links)
    return f'<nav aria-label="Contents"><ul>{items}</ul></nav>'


def _tables(comparison: Comparison) -> str:
    caption = "Mean ± standard deviation over fresh seeds."
    if not comparison.timing.valid:
        caption += f" † Seconds may not be compared: {reason_sentence(comparison.timing.text)}"
    target = comparison.target
    if target.value is not None:
        metric = target.metric.replace("val_", "validation ").replace("_", " ")
        caption += f" The target is a {metric} of {target.value:.4g}."
    caption += f" {schedules(comparison)}".rstrip()
    parts = [
        f'<section id="table"><h2>Table</h2><p class="caption">{escape(caption)}</p>',
        _table(heading(comparison), cells(comparison), whole=True),
    ]
    if comparison.pairs:
        parts.append(f"<h3>Pairs</h3>{_table(PAIRS, pairs(comparison), whole=True)}")
    parts.append(f'<p class="gets">{_download("table.csv", flat(comparison))}</p></section>')
    return "".join(parts)


def _table(names: Sequence[str], rows: Iterable[Sequence[str]], *, whole: bool = False) -> str:
    kinds = ["text" if name in TEXTUAL else "" for name in names]
    head = "".join(
        f'<th scope="col" class="{kind}">{escape(name)}</th>'
        for name, kind in zip(names, kinds, strict=True)
    )
    body = []
    for row in rows:
        second = ' class="second"' if row[0] == "–" else ""
        cells = zip(row, kinds, strict=True)
        body.append(f"<tr{second}>{''.join(_cell(text, kind) for text, kind in cells)}</tr>")
    scroll = 'tabindex="0" role="region" aria-label="Table, scrolls sideways"'
    return (
        f'<div class="wide{" whole" if whole else ""}" {scroll}><table><thead><tr>{head}</tr>'
        f"</thead><tbody>{''.join(body)}</tbody></table></div>"
    )


def _cell(text: str, kind: str) -> str:
    more = f" {text}" if text in VERDICTS else ""
    return f'<td class="{kind}{more}">{escape(text)}</td>'


def _download(name: str, rows: Iterable[Sequence[Any]]) -> str:
    """A link that contains the file, so that it works without a script."""
    content = base64.b64encode(csv_text(rows).encode()).decode()
    address = f"data:text/csv;charset=utf-8;base64,{content}"
    return f'<a download="{name}" href="{address}">{name}</a>'


def _figure(figure: Figure, panels: list[dict[str, Any]], comparison: Comparison) -> str:
    drawn = []
    for panel in figure.panels:
        panel_frame = frame(panel)
        names = ", ".join(dict.fromkeys(series.name for series in panel.series))
        label = f"{figure.title}: {panel.title}. {panel.y.label} by {panel.x.label}: {names}"
        drawn.append(
            f'<figure data-panel="{len(panels)}"><figcaption>{escape(panel.title)}</figcaption>'
            f"{svg(panel, panel_frame, label)}</figure>"
        )
        panels.append(pointed(panel, panel_frame))
    table = _table(figure.table[0], figure.table[1:]) if figure.table else ""
    kind = "panels pair" if len(drawn) in (1, 2, 4) else "panels"
    gets = _download(f"{figure.key}.csv", figure.rows())
    if figure.key == "ranking":
        gets += _download("runs.csv", _runs(comparison))
    return (
        f'<section id="{figure.key}"><h2>{escape(figure.title)}</h2>'
        f'<p class="caption">{escape(figure.caption)}</p>{_legend(figure.legend)}'
        f'<div class="{kind}">{"".join(drawn)}</div>{table}'
        f'<p class="gets">Data: {gets}</p></section>\n'
    )


def _runs(comparison: Comparison) -> Iterable[list[Any]]:
    names = ["method", "kind", "search", "seed", "status", "test_loss", "test_accuracy", "steps",
             "train_seconds", "steps_to_target", "seconds_to_target", "area"]  # fmt: skip
    names += {comparison.metric} - {*names}
    yield names
    for group in dict.fromkeys((run.method, run.kind) for run in comparison.runs):
        yield from ([getattr(run, name) for name in names] for run in comparison.of(*group))


def _legend(legend: Sequence[tuple[str, int]]) -> str:
    items = []
    for name, style in legend:
        marker = MARKERS[style % len(MARKERS)]
        swatch = (
            f'<svg viewBox="0 0 38 12" aria-hidden="true" class="c{style % COLORS} '
            f'd{style % DASHES}"><path class="line" d="M1 6H37"/>'
            f'<path class="m" transform="translate(19 6)" d="{marker}"/></svg>'
        )
        items.append(
            f'<li><button type="button" aria-pressed="true" data-m="{style}">{swatch}'
            f"<span>{escape(name)}</span></button></li>"
        )
    return f'<ul class="legend" aria-label="Methods; press to hide">{"".join(items)}</ul>'


def _records(comparison: Comparison) -> str:
    protocol = [[key, _shown(value)] for key, value in comparison.protocol.items()]
    environment = [[key, _shown(value)] for key, value in comparison.environment.items()]
    ledger = [[event.time, event.event, event.detail] for event in comparison.ledger]
    fields = ("setting", "value")
    return (
        _record("protocol", "Protocol", "What was fixed before anything ran.", fields, protocol,
                open_=True)
        + _record("ledger", "Ledger", "What was done, in order; the test set is opened once.",
                  ("time", "event", "detail"), ledger)
        + _record("environment", "Environment", "Where it ran.", fields, environment)
    )  # fmt: skip


def _record(
    key: str, title: str, caption: str, names: Sequence[str], rows: list[list[str]],
    *, open_: bool = False,
) -> str:  # fmt: skip
    shown = _table(names, rows) if rows else "<p>Nothing was recorded.</p>"
    count = _count(len(rows), "line")
    return (
        f'<section id="{key}"><h2>{title}</h2><p class="caption">{caption}</p>'
        f"<details{' open' if open_ else ''}><summary>{count}</summary>{shown}"
        f'<p class="gets">{_download(f"{key}.csv", [list(names), *rows])}</p></details></section>'
    )


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)
