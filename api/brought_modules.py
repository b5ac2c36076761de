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
import threading
import types
from collections import defaultdict, deque
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
        self._tops = {_top(root) for root in roots}
        self._imported = set(roots)
        """Modules that the sources import that have been read."""
        self._installed: set[str] = set()
        """Packages among them that are not the project's."""
        self._unread = deque(roots)
        self._seen = set(roots)
        self._lock = threading.Lock()

    def with_roots(self, roots: frozenset[str]) -> "BroughtModules":
        """With the modules of further graphs."""
        return self if roots <= self.roots else BroughtModules(self.roots | roots)

    def get(self, name: str) -> types.ModuleType | None:
        """A module, if the graphs bring it along; it is imported only if their own sources do that."""
        if _top(name) in sys.stdlib_module_names:
            return None
        with self._lock:
            # No further than needed: the loop may wait for it.
            while not self._knows(name) and self._unread:
                self._read(self._unread.popleft())
        if not self._knows(name) and _top(name) not in self._packages:
            return None
        module = sys.modules.get(name) or (_imported(name) if name in self._imported else None)
        return None if _is_servers(module) else module

    def _knows(self, name: str) -> bool:
        """Whether the sources so far import it, or, if it is loaded, what it is a part of."""
        if name in self._imported:
            return True
        if name not in sys.modules:
            return False
        return _top(name) in self._installed or any(parent in self._imported for parent in _parents(name))

    def _read(self, name: str) -> None:
        path = _source(name)
        if _top(name) not in self._tops and (path is None or _INSTALLED & set(path.parts)):
            self._installed.add(_top(name))
            return
        imports = _imports(name, path)
        # A project whose names are taken lies below a package that has no name in its sources.
        for imported in imports | {f"{_top(name)}.{each}" for each in imports}:
            if _top(imported) not in sys.stdlib_module_names and _exists(imported):
                self._imported.add(imported)
                fresh = {imported, *_parents(imported)} - self._seen
                self._seen |= fresh
                self._unread += fresh

    @functools.cached_property
    def _packages(self) -> frozenset[str]:
        """Packages that are installed and loaded: those that the sources import, now all read, and what these use."""
        loaded = defaultdict[str, list[types.ModuleType]](list)
        for name, module in list(sys.modules.items()):
            if isinstance(module, types.ModuleType):
                loaded[_top(name)].append(module)
        found = set[str]()
        left = set(self._installed)
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


def is_class(value: object) -> bool:
    """Whether it is a class itself: `isinstance` would ask a proxy what it stands for, which may import that."""
    return issubclass(type(value), type)


def _used(module: types.ModuleType) -> Iterator[str]:
    for value in list(vars(module).values()):
        name: Any = None
        if type(value) is types.ModuleType:
            name = vars(value).get("__name__")
        elif type(value) is types.FunctionType or is_class(value):
            name = value.__module__
        if type(name) is str:
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
