"""The project: the folders that langgraph.json imports from. The module that is loaded is the file that was named.

    "./src/agent.py", "agent.main" ──file──> a path ──free?──> imported under its own dotted name
                                                   └─taken───> imported under the same name below an alias

A name is taken when Python gives another module for it: the standard library's, an installed package's, one of this
service. One file is one module, however many graphs name it and whoever imports it. What the project's modules import
by a name that is taken is the installed module, as everywhere in Python and with LangGraph's own server; but where the
name is one of this service's packages they mean the project's.
"""

import builtins
import importlib
import importlib.util
import os
import site
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

_OWN = frozenset({__name__.partition(".")[0], "graph"})
"""The names that this distribution takes from projects."""

_ALIAS = "threadline_project"


@dataclass(frozen=True, slots=True)
class Project:
    """The folders that a project's modules are imported from.

    Args:
        root: the folder of langgraph.json.
        roots: it, and the folders among `dependencies`.
        absent: those among them that are written as folders, and are none.
    """

    root: Path
    roots: tuple[Path, ...]
    absent: tuple[str, ...] = ()

    @classmethod
    def of(cls, root: Path, dependencies: Iterable[str]) -> "Project":
        """The project of a langgraph.json.

        Args:
            root: its folder.
            dependencies: as they stand in it; those that are no folders are packages to install.
        """
        folders = {each: (root / each).resolve() for each in dependencies}
        there = dict.fromkeys(folder for folder in (root, *folders.values()) if folder.is_dir())
        absent = (each for each, folder in folders.items() if each.startswith((".", "/")) and not folder.is_dir())
        return cls(root, tuple(there), tuple(absent))

    def enter(self) -> None:
        """Makes the project's modules importable: after what is installed, before other projects' folders."""
        installed = _installed()
        after = [place for place, entry in enumerate(sys.path) if entry in installed]
        place = after[-1] + 1 if after else len(sys.path)
        sys.path[place:place] = [str(root) for root in self.roots if str(root) not in sys.path]
        importlib.invalidate_caches()
        if names := frozenset(name for name in _OWN if self._takes(name)):
            finder = _Finder(self.roots, names, self._alias())
            if finder not in sys.meta_path:
                sys.meta_path.insert(0, finder)

    def module(self, source: str) -> ModuleType:
        """Imports the module that an entry names.

        Args:
            source: a path from the root, or a dotted name; one that the project does not have is an installed one's.

        Raises:
            Exception: whatever the module raises; FileNotFoundError if the path names no file.
        """
        path = self._file(source)
        if path is None:
            top = source.partition(".")[0]
            return importlib.import_module(f"{self._alias()}.{source}" if self._takes(top) else source)
        for name in self._names(path):
            if _gives(name, path):
                return importlib.import_module(name)
        return self._aliased(path)

    def has(self, source: str) -> bool:
        """Whether a dotted name is that of a module, of the project or installed."""
        if self._file(source) is not None:
            return True
        try:
            return importlib.util.find_spec(source) is not None
        except (ImportError, ValueError):
            return False

    def _file(self, source: str) -> Path | None:
        if source.endswith(".py") or "/" in source:
            path = Path(os.path.normpath(self.root / source))
            if not path.is_file():
                raise FileNotFoundError(f"{path.name} does not exist")
            return path
        for root in self.roots:
            place = root.joinpath(*source.split("."))
            for path in (place / "__init__.py", place.with_name(f"{place.name}.py")):
                if path.is_file():
                    return path
        return None

    def _bases(self, path: Path) -> Iterator[Path]:
        """The folders that a file's name may start from: the one around its outermost package, and those above."""
        base = path.parent
        while (base / "__init__.py").is_file() and base != base.parent:
            base = base.parent
        yield base
        while base != self.root and base.is_relative_to(self.root):
            base = base.parent
            yield base
        if path.is_relative_to(self.root):
            yield self.root

    def _names(self, path: Path) -> Iterator[str]:
        for base in self._bases(path):
            name = _dotted(path, base)
            if name is not None:
                yield name

    def _takes(self, name: str) -> bool:
        """Whether the project has a module of this name, and Python would give another one for it."""
        own = [place for root in self.roots for place in (root / name, root / f"{name}.py") if place.exists()]
        return bool(own) and not any(_holds(name, place) for place in own)

    def _alias(self) -> str:
        """The package without code below which all of the project's modules can be imported, whatever their names.

        A second project of the process has a second one.
        """
        paths = [str(root) for root in self.roots]
        name, number = _ALIAS, 1
        while (package := sys.modules.get(name)) is not None and list(package.__path__[: len(paths)]) != paths:
            number += 1
            name = f"{_ALIAS}_{number}"
        return _package(name, paths)

    def _aliased(self, path: Path) -> ModuleType:
        alias = self._alias()
        bases = list(self._bases(path))
        base = next((base for base in bases if base in self.roots), bases[0])
        if str(base) not in (folders := sys.modules[alias].__path__):
            folders.append(str(base))
        name = _dotted(path, base)
        if name is not None and _gives(f"{alias}.{name}", path):
            return importlib.import_module(f"{alias}.{name}")
        # No name says the place: its folder is a package with a name that is made of it.
        folder = os.path.relpath(path.parent, self.root).replace(".", "_").replace(os.sep, "_")
        package = _package(f"{alias}.{folder}", [str(path.parent)])
        return _at(f"{package}.{path.stem.replace('.', '_')}", path)


class _Loader(SourceFileLoader):
    """Loads a module of a project whose absolute imports of some names are the project's own.

    `__builtins__` of a module is where CPython looks for `__import__`: an implementation detail, but there is no other
    way to tell who imports, since a module that is loaded is found before any finder is asked.

    Args:
        fullname: of the module.
        path: its file.
        names: the first parts of the names.
        alias: where the project's modules of these names are.
    """

    def __init__(self, fullname: str, path: str, names: frozenset[str], alias: str) -> None:
        super().__init__(fullname, path)
        self._names = names
        self._alias = alias

    def exec_module(self, module: ModuleType) -> None:
        """Executes the module."""
        module.__dict__["__builtins__"] = {**vars(builtins), "__import__": self._import}
        super().exec_module(module)

    def _import(
        self,
        name: str,
        globals: Mapping[str, Any] | None = None,  # noqa: A002  # as Python calls it
        locals: Mapping[str, Any] | None = None,  # noqa: A002
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        top = name.partition(".")[0]
        if level or top not in self._names:
            return builtins.__import__(name, globals, locals, fromlist or (), level)
        module = builtins.__import__(f"{self._alias}.{name}", globals, locals, fromlist or ())
        return module if fromlist else sys.modules[f"{self._alias}.{top}"]


@dataclass(frozen=True, slots=True)
class _Finder:
    """Finds a project's modules where Python does, and has them loaded by `_Loader`.

    Args:
        roots: the project's folders.
        names: of its modules that are others elsewhere.
        alias: where those are.
    """

    roots: tuple[Path, ...]
    names: frozenset[str]
    alias: str

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The module's spec, if it is one of the project's; Python's own finders are asked for any other."""
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is None or spec.origin is None or type(spec.loader) is not SourceFileLoader:
            return None
        origin = Path(spec.origin).resolve()
        elsewhere = (Path(__file__).resolve().parent, *(Path(folder).resolve() for folder in _installed()))
        if any(origin.is_relative_to(each) for each in elsewhere):
            return None
        if not any(origin.is_relative_to(root) for root in self.roots):
            return None
        spec.loader = _Loader(fullname, spec.origin, self.names, self.alias)
        return spec


def _installed() -> frozenset[str]:
    return frozenset((*site.getsitepackages(), site.getusersitepackages()))


def _package(name: str, folders: list[str]) -> str:
    """The name of a package without code, which is made if need be."""
    if name not in sys.modules:
        package = importlib.util.module_from_spec(ModuleSpec(name, None, is_package=True))
        package.__path__ = folders
        sys.modules[name] = package
    return name


def _dotted(path: Path, base: Path) -> str | None:
    """The name of a file for whoever imports from a folder; None if no name can say it."""
    parts = path.relative_to(base).with_suffix("").parts
    if parts[-1] == "__init__":
        parts = parts[:-1]
    return ".".join(parts) if parts and all("." not in part for part in parts) else None


def _holds(name: str, place: Path) -> bool:
    """Whether the module that Python gives for a name without dots is this file, or a package around it."""
    try:
        spec = importlib.util.find_spec(name)
    except ValueError:  # a module that has none, such as __main__
        return False
    if spec is None:
        return False
    held = [Path(folder) for folder in spec.submodule_search_locations or ()]
    if not held and spec.origin is not None:
        held = [Path(spec.origin)]
    return any(_same(each, around) for each in held for around in (place, *place.parents))


def _gives(name: str, path: Path) -> bool:
    """Whether Python gives this file for a name; the packages around it are imported to know."""
    if not name.startswith(_ALIAS) and not _holds(name.partition(".")[0], path):
        return False
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return False
    return spec is not None and spec.origin is not None and _same(Path(spec.origin), path)


def _same(one: Path, other: Path) -> bool:
    return one.exists() and one.samefile(other)


def _at(name: str, path: Path) -> ModuleType:
    """A file whose place has no dotted name."""
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path.name} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
