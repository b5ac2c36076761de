"""Brought modules: what the served graphs bring along, found by reading their sources and importing nothing.

    a graph's module ──its imports, those inside functions too──> modules of the project ──> packages they use
                                                                                                │ (loaded)
                                                                                                └──> packages these use

A module may be imported because of a checkpoint if the project's own source imports it, as a resumed run would do a
moment later itself; of packages only what is loaded counts.
"""

import ast
import functools
import importlib
import importlib.util
import sys
import types
from collections import defaultdict
from collections.abc import Iterator, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any

_SERVER = Path(__file__).resolve().parent
_INSTALLED = frozenset({"site-packages", "dist-packages"})


class BroughtModules:
    """What graphs bring along.

    Args:
        roots: the modules that define the graphs.
    """

    def __init__(self, roots: frozenset[str] = frozenset()) -> None:
        self.roots = roots

    def with_roots(self, roots: frozenset[str]) -> "BroughtModules":
        """With the modules of further graphs."""
        return self if roots <= self.roots else BroughtModules(self.roots | roots)

    def get(self, name: str) -> types.ModuleType | None:
        """A module, if the graphs bring it along; it is imported only if their own sources do that."""
        module = sys.modules.get(name)
        if _top(name) in sys.stdlib_module_names or _is_servers(module):
            return None
        if name in self._imports:
            return module or _imported(name)
        return module if module and (self._is_inside(name) or _top(name) in self._packages) else None

    def _is_inside(self, name: str) -> bool:
        """Whether it is a part of what the sources import: loaded by a name that is made at run time, say."""
        return any(name.startswith(f"{package}.") for package in self._sources[0])

    @functools.cached_property
    def _sources(self) -> tuple[frozenset[str], frozenset[str]]:
        """Modules that the project's sources import, by name; and packages that are installed, and imported there."""
        named, installed = set(self.roots), set[str]()
        left = list(self.roots)
        seen = set(self.roots)
        tops = {_top(root) for root in self.roots}
        while left:
            name = left.pop()
            path = _source(name)
            if _top(name) not in tops and (path is None or _INSTALLED & set(path.parts)):
                installed.add(_top(name))
                continue
            imports = _imports(name, path)
            # A project whose names are taken lies below a package that has no name in its sources.
            for imported in imports | {f"{_top(name)}.{each}" for each in imports}:
                if _top(imported) not in sys.stdlib_module_names and _exists(imported):
                    named.add(imported)
                    fresh = {imported, *_parents(imported)} - seen
                    seen |= fresh
                    left += fresh
        return frozenset(named), frozenset(installed)

    @property
    def _imports(self) -> frozenset[str]:
        return self._sources[0]

    @functools.cached_property
    def _packages(self) -> frozenset[str]:
        """Top-level packages that are installed and loaded: those that the sources import, and those that they use."""
        loaded = defaultdict[str, list[types.ModuleType]](list)
        for name, module in list(sys.modules.items()):
            if isinstance(module, types.ModuleType):
                loaded[_top(name)].append(module)
        found = set[str]()
        left = set(self._sources[1])
        while left:
            package = left.pop()
            found.add(package)
            left |= {top for module in loaded[package] for top in _used(module)} - found
        return frozenset(found - sys.stdlib_module_names)


def _top(name: str) -> str:
    return name.partition(".")[0]


def _parents(name: str) -> Iterator[str]:
    while name := name.rpartition(".")[0]:
        yield name


def _is_servers(module: types.ModuleType | None) -> bool:
    path = getattr(module, "__file__", None)
    return path is not None and Path(path).resolve().is_relative_to(_SERVER)


def _used(module: types.ModuleType) -> Iterator[str]:
    for value in list(vars(module).values()):
        name: Any = None
        if isinstance(value, types.ModuleType):
            name = value.__name__
        elif isinstance(value, type | types.FunctionType):
            name = value.__module__
        if isinstance(name, str):
            yield _top(name)


def _imported(name: str) -> types.ModuleType | None:
    try:
        return importlib.import_module(name)
    except Exception:  # noqa: BLE001  # the project's own code: without it, its objects come back as data
        return None


def _exists(name: str) -> bool:
    return name in sys.modules or _spec(name) is not None


def _spec(name: str) -> ModuleSpec | None:
    """Where a module is, without importing those that it lies in."""
    parent = name.rpartition(".")[0]
    path: Sequence[str] | None = None
    if parent:
        loaded = sys.modules.get(parent)
        path = (
            getattr(loaded, "__path__", None) if loaded else getattr(_spec(parent), "submodule_search_locations", None)
        )
        if path is None:
            return None
    try:
        return PathFinder.find_spec(name, path)
    except (ImportError, ValueError, OSError):
        return None


def _source(name: str) -> Path | None:
    """The file of a module's source, if it has one; the folder of a package that has none of its own."""
    module = sys.modules.get(name)
    file = getattr(module, "__file__", None) if module else getattr(_spec(name), "origin", None)
    if file is None:
        folders = list(getattr(module, "__path__", ()))
        return Path(folders[0]) if folders else None
    return Path(file).resolve()


def _imports(name: str, path: Path | None) -> set[str]:
    """The names that a module's source imports; the second of `from a import b` as if it were a module."""
    if path is None or path.suffix != ".py" or path.is_relative_to(_SERVER):
        return set()
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError):
        return set()
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    found = _Imports(package)
    found.visit(tree)
    return found.names


class _Imports(ast.NodeVisitor):
    """Gathers what a module imports, but for what is there for type checkers alone."""

    def __init__(self, package: str) -> None:
        self.names: set[str] = set()
        self._package = package

    def visit_Import(self, node: ast.Import) -> None:  # ast's own
        self.names |= {alias.name for alias in node.names}

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        name = "." * node.level + (node.module or "")
        try:
            name = importlib.util.resolve_name(name, self._package)
        except ImportError:
            return
        self.names |= {name, *(f"{name}.{alias.name}" for alias in node.names)}

    def visit_If(self, node: ast.If) -> None:
        body: list[ast.stmt] = [] if "TYPE_CHECKING" in ast.dump(node.test) else node.body
        for each in [*body, *node.orelse]:
            self.visit(each)
