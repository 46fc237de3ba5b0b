"""Measure the shape of the package: sizes, import chains, private names of other libraries.

    python -m tests.benchmarks.shape            # the working tree
    python -m tests.benchmarks.shape 85de0f0    # a commit, beside the working tree

The table of docs/architecture.md comes from here.
"""

import argparse
import ast
import io
import subprocess
import sys
import tarfile
import tempfile
import tokenize
from functools import cache
from pathlib import Path

from tests.kit import ROOT

PACKAGE = "bazis_ws_channels"
#: Underscored names that Python and Django document.
DOCUMENTED = {"_asdict", "_base_manager", "_default_manager", "_meta", "_replace", "_state"}


class Package:
    """The modules of one version of the package, parsed."""

    def __init__(self, folder: Path) -> None:
        self.sources = {
            ".".join(path.relative_to(folder).with_suffix("").parts).removesuffix(".__init__"): path
            for path in sorted(folder.rglob("*.py"))
            if "management" not in path.parts or "commands" in path.parts
        }
        self.text = {name: path.read_text() for name, path in self.sources.items()}
        self.trees = {name: ast.parse(text) for name, text in self.text.items()}

    def modules(self) -> list[str]:
        """Return the modules that hold anything, without the management commands."""
        return [name for name, text in self.text.items() if text and "management" not in name]

    def lines(self) -> int:
        """Return the lines of Python in all."""
        return sum(len(text.splitlines()) for text in self.text.values())

    def code_lines(self) -> int:
        """Return the lines without blank ones, comments and docstrings."""
        return sum(len(_code_lines(self.text[name], self.trees[name])) for name in self.text)

    def longest(self, *kinds: type) -> tuple[int, str]:
        """Return the lines and the name of the longest class or function."""
        return max(
            (node.end_lineno - node.lineno + 1, f"{name}:{node.name}")
            for name, tree in self.trees.items()
            for node in ast.walk(tree)
            if isinstance(node, kinds)
        )

    # --- imports ----------------------------------------------------------------------------

    def imports(self, name: str) -> set[str]:
        """Return the modules of the package that a module imports, wherever in it."""
        found = set()
        is_package = self.sources[name].name == "__init__.py"
        for node in ast.walk(self.trees[name]):
            if not isinstance(node, ast.ImportFrom):
                continue
            if node.level:
                parts = name.split(".")
                base = parts[: len(parts) - node.level + is_package]
                target = ".".join([*base, *filter(None, [node.module])])
            elif node.module == PACKAGE or node.module.startswith(f"{PACKAGE}."):
                target = node.module.removeprefix(PACKAGE).removeprefix(".")
            else:
                continue  # redis.connection is redis-py's
            for alias in node.names:
                whole = f"{target}.{alias.name}".removeprefix(".")
                found.add(whole if whole in self.sources else target)
        return {each for each in found if each in self.sources} - {name, PACKAGE}

    def module_graph(self) -> dict[str, set[str]]:
        """Return the modules, and what each of them imports."""
        return {name: self.imports(name) for name in self.modules()}

    # --- private names ----------------------------------------------------------------------

    def private_names(self) -> set[str]:
        """Return the private names that are not the package's own."""
        own, used = set(), set()
        for tree in self.trees.values():
            for node in ast.walk(tree):
                own |= _defined(node)
                used |= _used(node)
        overridden = {
            node.attr
            for tree in self.trees.values()
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and _is_super(node.value) and _is_private(node.attr)
        }
        return ((used - own) | overridden) - DOCUMENTED


def _code_lines(text: str, tree: ast.AST) -> set[int]:
    lines: set[int] = set()
    skipped = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in skipped and token.type != tokenize.ENDMARKER:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            lines.difference_update(range(node.lineno, node.end_lineno + 1))
    return lines


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name != "_"


def _is_super(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and getattr(node.func, "id", "") == "super"


def _defined(node: ast.AST) -> set[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {node.name}
    if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
        return {node.attr}
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        return {node.id}
    return set()


def _used(node: ast.AST) -> set[str]:
    names: set[str] = set()
    if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
        names.add(node.attr)
    elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
        names.update(alias.name for alias in node.names)
        names.update(node.module.split("."))
        if node.module.startswith(PACKAGE):
            return set()
    elif isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("getattr", "hasattr"):
        names.update(each.value for each in node.args[1:2] if isinstance(each, ast.Constant))
    return {name for name in names if isinstance(name, str) and _is_private(name)}


def chain(graph: dict[str, set[str]]) -> list[str]:
    """Return the longest chain of imports; of a cycle any way round it, once."""

    @cache
    def longest(name: str, seen: frozenset[str]) -> tuple[str, ...]:
        rest = [longest(each, seen | {each}) for each in graph.get(name, ()) if each not in seen]
        return (name, *max(rest, key=len, default=()))

    return list(max((longest(name, frozenset({name})) for name in graph), key=len))


def cycles(graph: dict[str, set[str]]) -> set[str]:
    """Return what can be reached from itself."""
    found = set()
    for start in graph:
        seen, stack = set(), list(graph[start])
        while stack:
            name = stack.pop()
            if name == start:
                found.add(start)
            if name not in seen:
                seen.add(name)
                stack += graph.get(name, ())
    return found


def measure(folder: Path) -> dict[str, str]:
    """Return the figures of one version, by name."""
    package = Package(folder)
    graph = package.module_graph()
    looped, longest = sorted(cycles(graph)), chain(graph)
    class_lines, longest_class = package.longest(ast.ClassDef)
    function_lines, longest_function = package.longest(ast.FunctionDef, ast.AsyncFunctionDef)
    lua = sum(len(path.read_text().splitlines()) for path in folder.rglob("*.lua"))
    names = sorted(package.private_names())
    return {
        "modules": str(len(graph)),
        "lines of Python": f"{package.lines():,}",
        "of them code": f"{package.code_lines():,}",
        "lines of Lua in files": str(lua),
        "longest class": f"{class_lines} ({longest_class})",
        "longest function": f"{function_lines} ({longest_function})",
        "modules in a cycle": f"{len(looped)} ({', '.join(looped)})",
        "longest chain of modules": f"{len(longest)} ({' > '.join(longest)})",
        "private names of others": f"{len(names)} ({', '.join(names)})",
    }


def _unpacked(commit: str, folder: str) -> Path:
    archive = subprocess.run(
        ["git", "archive", commit, PACKAGE], cwd=ROOT, capture_output=True, check=True
    ).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(folder, filter="data")
    return Path(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("commit", nargs="*")
    options = parser.parse_args()
    columns = {}
    for commit in options.commit:
        with tempfile.TemporaryDirectory() as folder:
            columns[commit] = measure(_unpacked(commit, folder) / PACKAGE)
    columns["now"] = measure(ROOT / PACKAGE)
    print("| |", " | ".join(columns), "|")
    print("|", " | ".join(["---"] * (len(columns) + 1)), "|")
    for name in columns["now"]:
        print("|", name, "|", " | ".join(column[name] for column in columns.values()), "|")


if __name__ == "__main__":
    sys.exit(main())
