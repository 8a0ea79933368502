"""Which tests run which line, and how long each takes: what `make coverage` measured."""

import sqlite3
import xml.etree.ElementTree as ElementTree
from collections import defaultdict
from functools import cached_property
from pathlib import Path

from coverage.numbits import numbits_to_nums

COPIED_SOURCE = "/src/"
UNKNOWN = 1.0  # seconds, of a test that was not timed


class Coverage:
    """Reads the database and the timings in a folder.

    A line that a fixture ran counts for all tests of that file, since the fixture may be theirs.
    """

    def __init__(self, folder: Path) -> None:
        self.database, self.folder = folder / ".coverage", folder
        if not self.database.is_file():
            raise SystemExit(f"{self.database} is not there: run `make coverage` first")

    @cached_property
    def seconds(self) -> dict[str, float]:
        found: dict[str, float] = {}
        for path in sorted(self.folder.glob("*.xml"), key=lambda path: path.stat().st_mtime):
            for case in ElementTree.parse(path).iter("testcase"):
                if case.find("skipped") is None:
                    file = case.attrib["classname"].replace(".", "/") + ".py"
                    found[f"{file}::{case.attrib['name']}"] = float(case.attrib["time"])
        return found

    @cached_property
    def tests_of_file(self) -> dict[str, set[str]]:
        tests: dict[str, set[str]] = defaultdict(set)
        for test in self.seconds:
            tests[test.partition("::")[0]].add(test)
        return tests

    @cached_property
    def lines(self) -> dict[str, dict[int, set[str]]]:
        """For each source file, the tests that ran each of its lines."""
        found: dict[str, dict[int, set[str]]] = defaultdict(lambda: defaultdict(set))
        with sqlite3.connect(f"file:{self.database}?mode=ro", uri=True) as connection:
            query = (
                "select path, context, fromno, tono from arc join file on file.id = file_id "
                "join context on context.id = context_id"
            )
            for path, context, first, last in connection.execute(query):
                tests = self._tests(context)
                for line in (first, last):
                    if line > 0:
                        found[self._source(path)][line] |= tests
            query = (
                "select path, context, numbits from line_bits join file on file.id = file_id "
                "join context on context.id = context_id"
            )
            for path, context, bits in connection.execute(query):
                for line in numbits_to_nums(bits):
                    found[self._source(path)][line] |= self._tests(context)
        return found

    def covering(self, path: str, lines: range, root: Path) -> set[str]:
        """The tests that ran one of the lines.

        Those that ran any line of the file, where these ran only as it was imported, or where the
        file has changed since.
        """
        known = self.lines.get(path, {})
        changed = (root / path).stat().st_mtime > self.database.stat().st_mtime
        found = set().union(*(known.get(line, set()) for line in lines))
        imported = any(line in known for line in lines)
        if changed or (imported and not found):
            found = set().union(*known.values())
        return found & self.seconds.keys()

    def _tests(self, context: str) -> frozenset[str]:
        """`FILE::TEST|run` of this process, or `FILE::TEST (call)` of one that it started."""
        if context not in self._known:
            test, separator, phase = context.rpartition("|")
            if not separator:
                test, _, phase = context.rpartition(" ")
            phase = phase.strip("()")
            if phase in ("run", "call"):
                self._known[context] = frozenset({test})
            else:
                self._known[context] = frozenset(self.tests_of_file[test.partition("::")[0]])
        return self._known[context]

    @cached_property
    def _known(self) -> dict[str, frozenset[str]]:
        return {"": frozenset()}

    @staticmethod
    def _source(path: str) -> str:
        return f"src/{path.rpartition(COPIED_SOURCE)[2]}" if COPIED_SOURCE in path else path
