"""Small mistakes in a source text: each mutant is one, at one place.

Left alone are annotations, docstrings, decorators, what is raised and f-strings (messages), and
conditions that only type checkers read.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.mutants import ROOT

COMPARISONS: dict[type[ast.cmpop], tuple[str, str]] = {
    ast.Lt: ("<", "<="),
    ast.LtE: ("<=", "<"),
    ast.Gt: (">", ">="),
    ast.GtE: (">=", ">"),
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.Is: ("is", "is not"),
    ast.IsNot: ("is not", "is"),
    ast.In: ("in", "not in"),
    ast.NotIn: ("not in", "in"),
}
ARITHMETIC: dict[type[ast.operator], tuple[str, str]] = {
    ast.Add: ("+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: ("*", "/"),
    ast.Div: ("/", "*"),
    ast.FloorDiv: ("//", "*"),
    ast.Mod: ("%", "*"),
    ast.Pow: ("**", "*"),
    ast.BitOr: ("|", "&"),
    ast.BitAnd: ("&", "|"),
}
SWAPPED = {"min": "max", "any": "all", "minimum": "maximum", "floor": "ceil", "argmin": "argmax"}
SWAPPED |= {new: old for old, new in SWAPPED.items()}
CHECKS = ("strict", "encoding")  # without effect where lengths are equal and the locale is UTF-8
WORDS = {"minimize": "maximize", "maximize": "minimize"}


@dataclass(frozen=True)
class Mutant:
    """Bytes ``start`` to ``end`` of a file, replaced by ``new``.

    Its statement begins at the line ``first``, the only one of its lines that is sure to be
    measured.
    """

    path: str
    start: int
    end: int
    first: int
    line: int
    old: str
    new: str

    def applied(self, source: bytes) -> bytes:
        return source[: self.start] + self.new.encode() + source[self.end :]


def mutants(path: str, source: bytes) -> list[Mutant]:
    """All mutants of a file, in the order of its lines, each of which can be compiled."""
    found = set(_Finder(path, source).all())
    return [one for one in sorted(found, key=_order) if _compiles(one.applied(source))]


def _order(mutant: Mutant) -> tuple[int, int, str]:
    return mutant.start, mutant.end, mutant.new


def _compiles(source: bytes) -> bool:
    try:
        compile(source, "mutant", "exec")
    except SyntaxError:
        return False
    return True


class _Finder(ast.NodeVisitor):
    """Walks a file and notes each place where a mistake can be made."""

    def __init__(self, path: str, source: bytes) -> None:
        self.path, self.source = path, source
        lines = source.splitlines(keepends=True)
        self.offsets = [0]
        for line in lines:
            self.offsets.append(self.offsets[-1] + len(line))
        self.found: list[Mutant] = []
        self.first = 1

    def all(self) -> Iterator[Mutant]:
        self.visit(ast.parse(self.source))
        return iter(self.found)

    def visit(self, node: ast.AST) -> None:
        outer = self.first
        if isinstance(node, ast.stmt):
            self.first = node.lineno
        super().visit(node)
        self.first = outer

    # ---- places

    def start(self, node: ast.expr | ast.stmt | ast.keyword) -> int:
        return self.offsets[node.lineno - 1] + node.col_offset

    def end(self, node: ast.expr | ast.stmt | ast.keyword) -> int:
        assert node.end_lineno is not None and node.end_col_offset is not None
        return self.offsets[node.end_lineno - 1] + node.end_col_offset

    def text(self, node: ast.expr | ast.stmt) -> str:
        return self.source[self.start(node) : self.end(node)].decode()

    def add(self, start: int, end: int, new: str) -> None:
        line = self.source.count(b"\n", 0, start) + 1
        old = self.source[start:end].decode()
        self.found.append(Mutant(self.path, start, end, self.first, line, old, new))

    def replace(self, node: ast.expr | ast.stmt, new: str) -> None:
        self.add(self.start(node), self.end(node), new)

    def between(self, left: ast.expr, right: ast.expr, old: str, new: str) -> None:
        """The operator between two operands; only brackets and blanks stand beside it."""
        start = self.end(left)
        text = self.source[start : self.start(right)].decode()
        pattern = re.escape(old).replace(r"\ ", r"\s+")
        if match := re.search(rf"\b{pattern}\b" if old.isalpha() else pattern, text):
            first = start + len(text[: match.start()].encode())
            self.add(first, first + len(match[0].encode()), new)

    # ---- what is left alone

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        for default in [*node.args.defaults, *filter(None, node.args.kw_defaults)]:
            self.visit(default)
        self.body(node.body)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self.body(node.body)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value:
            self.visit(node.value)

    def visit_Raise(self, node: ast.Raise) -> None:
        self.replace(node, "pass")

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        return  # Python 3.11 doesn't know where the parts of an f-string stand

    def visit_Assert(self, node: ast.Assert) -> None:
        return

    def visit_If(self, node: ast.If) -> None:
        if "TYPE_CHECKING" not in self.text(node.test):
            self.condition(node.test)
            self.generic_visit(node)

    def body(self, statements: list[ast.stmt]) -> None:
        for statement in statements:
            self.visit(statement)

    # ---- conditions

    def condition(self, test: ast.expr) -> None:
        """Negate it, unless another mutant of the condition itself says the same."""
        compared = isinstance(test, ast.Compare) and len(test.ops) == 1
        negated = isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not)
        if not (compared or negated or isinstance(test, ast.NamedExpr)):
            self.replace(test, f"(not ({self.text(test)}))")
        elif isinstance(test, ast.NamedExpr):
            self.replace(test, f"not ({self.text(test)})")

    def visit_While(self, node: ast.While) -> None:
        if not isinstance(node.test, ast.Constant):
            self.condition(node.test)
        self.generic_visit(node)

    def visit_IfExp(self, node: ast.IfExp) -> None:
        self.condition(node.test)
        self.generic_visit(node)

    def visit_comprehension(self, node: ast.comprehension) -> None:
        for test in node.ifs:
            self.condition(test)
        self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> None:
        operands = [node.left, *node.comparators]
        for left, operator, right in zip(operands, node.ops, operands[1:], strict=False):
            self.between(left, right, *COMPARISONS[type(operator)])
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        old, new = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
        for left, right in zip(node.values, node.values[1:], strict=False):
            self.between(left, right, old, new)
        self.generic_visit(node)

    # ---- values

    def visit_BinOp(self, node: ast.BinOp) -> None:
        if names := ARITHMETIC.get(type(node.op)):
            self.between(node.left, node.right, *names)
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        if isinstance(node.op, (ast.Not, ast.USub)):
            self.replace(node, f"({self.text(node.operand)})")
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        value = node.value
        if isinstance(value, bool):
            self.replace(node, str(not value))
        elif isinstance(value, int):
            self.replace(node, str(value + 1))
        elif isinstance(value, float):
            self.replace(node, str(2 * value or 1.0))
        elif isinstance(value, str) and value in WORDS:
            self.replace(node, f'"{WORDS[value]}"')

    def visit_Name(self, node: ast.Name) -> None:
        if node.id in SWAPPED:
            self.replace(node, SWAPPED[node.id])

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if node.attr in SWAPPED:
            end = self.end(node)
            self.add(end - len(node.attr), end, SWAPPED[node.attr])
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        """A keyword argument is forgotten."""
        arguments = sorted([*node.args, *node.keywords], key=self.start)
        for index, argument in enumerate(arguments):
            if isinstance(argument, ast.keyword) and argument.arg not in (None, *CHECKS):
                self.forget(arguments, index)
        self.generic_visit(node)

    def visit_keyword(self, node: ast.keyword) -> None:
        if node.arg not in CHECKS:
            self.visit(node.value)

    def visit_Dict(self, node: ast.Dict) -> None:
        """An entry is forgotten; the key stands where the entry begins, except for `**more`."""
        for key, value in zip(node.keys, node.values, strict=True):
            if key is not None:
                end = self.end(value)
                comma = re.match(rb"\)*\s*,", self.source[end:])
                self.add(self.start(key), end + (len(comma[0]) if comma else 0), "")
        self.generic_visit(node)

    def visit_Set(self, node: ast.Set) -> None:
        self.elements(node)

    def visit_List(self, node: ast.List) -> None:
        self.elements(node)

    def elements(self, node: ast.Set | ast.List) -> None:
        if len(node.elts) > 1:
            for index in range(len(node.elts)):
                self.forget(node.elts, index)
        self.generic_visit(node)

    def forget(self, items: list[ast.expr] | list[ast.expr | ast.keyword], index: int) -> None:
        """Take one item out, with the comma on one of its sides."""
        if index:
            self.add(self.end(items[index - 1]), self.end(items[index]), "")
        elif len(items) > 1:
            self.add(self.start(items[0]), self.start(items[1]), "")
        else:
            self.add(self.start(items[0]), self.end(items[0]), "")

    # ---- statements

    def visit_Expr(self, node: ast.Expr) -> None:
        if isinstance(node.value, ast.Constant):  # a docstring
            return
        if isinstance(node.value, ast.Call):
            self.replace(node, "pass")
        self.generic_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self.replace(node, "pass")
        self.visit(node.value)

    def visit_Assign(self, node: ast.Assign) -> None:
        if any(isinstance(one, ast.Name) and one.id == "__all__" for one in node.targets):
            return
        if all(isinstance(one, (ast.Attribute, ast.Subscript)) for one in node.targets):
            self.replace(node, "pass")
        self.visit(node.value)

    def visit_Delete(self, node: ast.Delete) -> None:
        self.replace(node, "pass")

    def visit_Return(self, node: ast.Return) -> None:
        if node.value:
            if not isinstance(node.value, ast.Constant):  # a constant is changed itself
                self.replace(node, "return None")
            self.visit(node.value)

    def visit_Continue(self, node: ast.Continue) -> None:
        self.replace(node, "break")

    def visit_Break(self, node: ast.Break) -> None:
        self.replace(node, "continue")


def files(chosen: list[str]) -> list[Path]:
    """The source files under the chosen paths, all of `src/` where none is chosen."""
    found: list[Path] = []
    for path in map(ROOT.__truediv__, chosen or ["src"]):
        found += [path] if path.is_file() else sorted(path.rglob("*.py"))
    return found
