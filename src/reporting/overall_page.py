"""What the page of a comparison over several problems shows."""

from collections.abc import Sequence
from urllib.parse import quote

from markupsafe import Markup

from src.comparing.overall import Overall, Problem
from src.metrics import Direction
from src.reporting import tables_overall as tables
from src.reporting.comparison_page import counted
from src.reporting.figures import Figure
from src.reporting.page import FOOTER, Page, Section, Table, Verdict, render

SHORT = {"overview": "Overview", "order": "Ranks and wins", "soonest": "How soon",
         "profiles": "Profiles"}  # fmt: skip
MANY = 15  # pairs, of which the table is folded
BESIDE = (
    " The tables lie there as LaTeX, Markdown, CSV and Parquet. Drawn again with "
    "python -m src.report."
)


def page(overall: Overall, figures: Sequence[Figure]) -> str:
    """The whole file; the heat map comes first."""
    drawn = {it.key: Section(it.key, it.title, SHORT[it.key], figure=it) for it in figures}
    sections = [
        *_present(drawn, "overview"),
        *([_standings(overall)] if overall.standings else []),
        *_present(drawn, "order"),
        *([_pairs(overall)] if overall.pairs else []),
        *_present(drawn, "soonest"),
        *_present(drawn, "profiles"),
        _problems(overall),
    ]
    footer = FOOTER + BESIDE
    return render(Page(overall.name, _about(overall), sections, _verdict(overall), footer))


def _present(drawn: dict[str, Section], key: str) -> list[Section]:
    return [drawn[key]] if key in drawn else []


def _about(overall: Overall) -> list[str]:
    asked = len(overall.problems) + len(overall.missing)
    count = f"{len(overall.problems)} of {asked}" if overall.missing else f"{asked}"
    return [
        overall.created[:16].replace("T", " "),
        f"{len(overall.methods)} methods" if overall.methods else "",
        f"{count} problems",
    ]


def _verdict(overall: Overall) -> Verdict:
    reasons = [("unfinished", f"{name}; the same command goes on") for name in overall.missing]
    return Verdict(overall.sentence, reasons)


def _standings(overall: Overall) -> Section:
    rows = tables.standings(overall)
    shown = Table(tables.standing_heading(overall), rows, whole=True)
    data = [("standings.csv", tables.flat_standings(overall)),
            ("places.csv", tables.flat_places(overall))]  # fmt: skip
    captions = [_sentences(tables.BEST, tables.SCORE)]
    return Section("standings", "Methods", "Methods", captions, tables=[shown], data=data)


def _pairs(overall: Overall) -> Section:
    captions = [
        _sentences(tables.HERE, tables.ADVANTAGE, tables.RUNS, tables.BEYOND),
        "These are two questions. What was found on these problems is sure as far as seeds make "
        "it so, and with one search of each method it is about the winners that these found; for "
        "what to expect beyond them each problem is one observation, with the luck of its "
        "searches, however many seeds it has, and they must resemble the problems that one has in "
        "mind.",
    ]
    if overall.refused:
        captions.append(f"Nothing is said beyond them: {overall.refused}.")
    shown = Table(tables.PAIRS, tables.pairs(overall), whole=True)
    data = [("pairs.csv", tables.flat_pairs(overall))]
    many = counted(len(overall.pairs), "pair") if len(overall.pairs) > MANY else None
    return Section("pairs", "Pairs", "Pairs", captions, tables=[shown], data=data, folded=many)


def _sentences(*notes: str) -> str:
    return " ".join(f"{note[0].upper()}{note[1:]}." for note in notes)


def _problems(overall: Overall) -> Section:
    names = ("problem", "metric", "seeds", "deviation between seeds", "target", "verdict there")
    rows = [_problem(problem) for problem in overall.problems]
    rows += [[name, *["–"] * 4, "not finished"] for name in overall.missing]
    caption = "Each has a comparison and a page of its own."
    return Section("problems", "Problems", "Problems", [caption], tables=[Table(names, rows)])


def _problem(problem: Problem) -> list[str]:
    address = f"{quote(problem.folder)}/report.html"
    name = Markup('<a href="{}">{}</a>').format(address, problem.name)
    arrow = "↑" if problem.direction == Direction.MAXIMIZE else "↓"
    fewest, most = problem.seeds
    seeds = f"{fewest}" if fewest == most else f"{fewest} to {most}"
    metric = f"{problem.metric.replace('_', ' ')} {arrow}"
    target = "–" if problem.target is None else f"{problem.target:.4g}"
    return [name, metric, seeds, f"{problem.deviation:.2g}", target, problem.sentence]
