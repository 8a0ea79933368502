"""One HTML file with figures and tables; it needs no other file and no network."""

import base64
import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from src.reporting import charts, vega
from src.reporting.figures import Figure, Key
from src.reporting.tables import csv_text

HERE = Path(__file__).parent
TEXTUAL = {"method", "pair", "verdict", "good range", "setting", "value", "time", "event", "detail",
           "run", "status", "trial", "steps to the target", "seconds to the target", "problem",
           "metric", "verdict there", "beyond them"}  # fmt: skip
VERDICTS = {"better", "worse", "equivalent", "undecided"}
FOOTER = (
    "Point at a figure to read values; hold Ctrl and turn the wheel to zoom, drag to move, "
    "double-click to go back; press a method in a legend to dim the others. The same figures lie "
    "beside this file as PNG, SVG and PDF."
)
PLAIN = " !$()*+,-./:;=?@_~"  # stay as they are in an address; "%" and "#" would not
Rows = Iterable[Sequence[Any]]


@dataclass(frozen=True)
class Table:
    """A table of texts.

    Args:
        whole: whether its numbers don't wrap.
    """

    names: Sequence[str]
    rows: Sequence[Sequence[str]]
    title: str = ""
    whole: bool = False

    def kind(self, name: str) -> str:
        return "text" if name in TEXTUAL else ""


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Args:
        key: names its place.
        short: its title in the list of contents.
        captions: its paragraphs.
        data: (file name, rows) of what can be downloaded.
        folded: what stands on the fold; None if it isn't folded.
        open: whether the fold is open at first.
    """

    key: str
    title: str
    short: str
    captions: Sequence[str] = ()
    figure: Figure | None = None
    tables: Sequence[Table] = ()
    data: Sequence[tuple[str, Rows]] = ()
    folded: str | None = None
    open: bool = False


@dataclass(frozen=True)
class Verdict:
    """A sentence, (check, text) of each reason to withhold it, and what it rests on.

    Args:
        partly: whether the reasons leave something that the sentence says.
    """

    sentence: str
    reasons: Sequence[tuple[str, str]] = ()
    basis: Sequence[str] = ()
    partly: bool = False


@dataclass(frozen=True)
class Page:
    title: str
    about: Sequence[str]
    sections: Sequence[Section]
    verdict: Verdict | None = None
    footer: str = FOOTER


def render(page: Page) -> str:
    """The whole file."""
    style = (HERE / "page.css").read_text(encoding="utf-8")
    scripts = (vega.scripts(), (HERE / "page.js").read_text(encoding="utf-8"))
    panels: list[charts.Spec] = []
    sections = [_shown(section, panels) for section in page.sections]
    data = {"panels": panels, "config": charts.PAGE}
    text: str = _template().render(
        page=page,
        sections=sections,
        style=Markup(style),
        scripts=[Markup(script) for script in scripts],
        policy=_policy(style, *scripts),
        verdicts=VERDICTS,
        # It holds no "<", so a name can't end the element.
        data=Markup(
            json.dumps(data, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
        ),
    )
    return text


@cache
def _template() -> Any:
    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined
    )
    return environment.get_template("page.html.j2")


def _policy(style: str, *scripts: str) -> str:
    """A policy that loads nothing and runs only the page's own style and scripts."""
    allowed = [
        f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
        for text in (style, *scripts)
    ]
    return (
        f"default-src 'none'; style-src {allowed[0]}; script-src {' '.join(allowed[1:])}; "
        "base-uri 'none'; form-action 'none'"
    )


def _shown(section: Section, panels: list[charts.Spec]) -> dict[str, Any]:
    """What the template shows of a section; its figure's panels are added to `panels`."""
    captions = [*section.captions]
    tables, data = [*section.tables], [*section.data]
    drawn = None
    if figure := section.figure:
        captions += [each for each in (figure.caption, charts.thinned(figure)) if each]
        tables += [Table(figure.table[0], figure.table[1:])] if figure.table else []
        data.insert(0, (f"{figure.key}.csv", figure.rows()))
        drawn = _drawn(figure, panels)
    return {
        **vars(section), "captions": captions, "tables": tables, "drawn": drawn,
        "files": [(name, _address(rows)) for name, rows in data],
    }  # fmt: skip


def _drawn(figure: Figure, panels: list[charts.Spec]) -> dict[str, Any]:
    shown = []
    for panel in figure.panels:
        names = ", ".join(dict.fromkeys(series.name for series in panel.series))
        label = f"{figure.title}: {panel.title}. {panel.y.title} by {panel.x.title}: {names}"
        title = f"{panel.title}: {panel.subtitle}" if panel.subtitle else panel.title
        shown.append({"number": len(panels), "title": title, "label": label})
        panels.append(charts.interactive(panel, label))
    legend = [_entry(text, style, Key("line", "")) for text, style in figure.legend]
    keys = [_entry(key.text, key.style, key, method=False) for key in figure.keys]
    return {"panels": shown, "legend": legend, "marks": keys}


def _entry(text: str, style: int, key: Key, *, method: bool = True) -> dict[str, Any]:
    """A method in the legend, or what a kind of mark means."""
    marker = charts.MARKERS[style % len(charts.MARKERS)]
    return {
        "text": text,
        "style": style,
        "color": style % len(charts.COLORS),
        "dash": style % len(charts.DASHES),
        "line": key.kind in ("line", "step", "path", "interval"),
        "shade": style if key.kind == "cell" else None,
        "thick": key.kind if key.kind in ("band", "bar") else "",
        "marker": marker if method or key.kind in ("points", "mark", "interval") else "",
        "hollow": key.hollow,
        "size": 4.6 if key.kind in ("mark", "interval") else 3.4,
    }


def _address(rows: Rows) -> str:
    """An address that contains the file, so that it can be saved without a script."""
    return f"data:text/csv;charset=utf-8,{quote(csv_text(rows), safe=PLAIN)}"
