"""The registry: loads what langgraph.json names and hands out graphs that are ready to run.

    langgraph.json ──load──> Registry ──open(graph_id)──> a Pregel with checkpointer and store

The file is LangGraph's own format (`graphs`, `dependencies`, `env`): https://docs.langchain.com/langgraph-platform/cli
"""

import contextlib
import difflib
import logging
import os
import traceback
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from dotenv import dotenv_values
from langchain_core.runnables import Runnable, RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import StateGraph
from langgraph.pregel import Pregel
from langgraph.store.base import BaseStore

from api.callers import settings_of_current
from api.errors import ConfigError, FactoryError, NotFoundError, ThreadlineError
from api.factories import Factory, Purpose, factory, server_runtime
from api.project import Project
from api.runnables import RunnableGraph
from api.schemas import Json
from api.serde import loads
from api.state_types import EVERYTHING, state_types

logger = logging.getLogger(__name__)

AnyGraph = Pregel[Any, Any, Any, Any]

_NAMESPACE = uuid.UUID("6ba7b821-9dad-11d1-80b4-00c04fd430c8")
"""LangGraph's: a default assistant's id is the uuid5 of its graph's name in it."""


_HONOURED = frozenset({"graphs", "dependencies", "env", "store", "checkpointer", "auth", "http", "webhooks"})
_UNSUPPORTED = frozenset({"priority", "ui", "ui_config", "disable_persistence"})
_OF_IMAGES = frozenset(
    {
        *("$schema", "python_version", "node_version", "api_version", "base_image", "image_distro", "dockerfile_lines"),
        *("pip_config_file", "pip_installer", "source", "keep_pkg_tools", "project_root", "package"),
        "_INTERNAL_docker_tag",
    }
)
"""What langgraph_cli builds images by: nothing is built here."""

_UNNAMED = "LangGraph"
"""What LangGraph calls a graph that was compiled without a name."""


def default_assistant_id(graph_id: str) -> str:
    """The id of the assistant that every graph has by itself."""
    return str(uuid.uuid5(_NAMESPACE, graph_id))


@dataclass(frozen=True, slots=True)
class GraphEntry:
    """One entry of `graphs`: its name, where it came from, and the loaded object."""

    graph_id: str
    target: Any
    """A Runnable (a Pregel among them), or a `Factory` of one."""
    description: str | None = None
    module: str | None = None
    """The name of the module that it was loaded from."""

    @property
    def assistant_id(self) -> str:
        """The id of its default assistant."""
        return default_assistant_id(self.graph_id)

    @property
    def is_factory(self) -> bool:
        """Whether `target` must be called to get the graph."""
        return isinstance(self.target, Factory)


class Registry:
    """The graphs that this process serves, by name.

    Args:
        entries: the graphs.
        checkpointer: given to every Pregel that is opened, so that its threads are durable; what it reads are values
            of the classes that the graphs declare and bring along.
        store: likewise.
    """

    def __init__(
        self,
        entries: Mapping[str, GraphEntry],
        *,
        checkpointer: BaseCheckpointSaver[Any] | None = None,
        store: BaseStore | None = None,
    ) -> None:
        self.entries = dict(entries)
        self.checkpointer = checkpointer
        if checkpointer is not None:
            graphs = [entry.target for entry in entries.values() if isinstance(entry.target, Pregel)]
            modules = [(entry.module, EVERYTHING) for entry in entries.values() if entry.module]
            types = [each for graph in graphs for each in state_types(graph)]
            self.checkpointer = checkpointer.with_allowlist(cast("Any", [*modules, *types]))
        self.store = store
        self._by_assistant = {entry.assistant_id: entry for entry in entries.values()}
        self._ready: dict[bool, dict[str, AnyGraph]] = {False: {}, True: {}}
        """Graphs by whether they are stateless, and by name."""

    def find(self, assistant_id: str) -> GraphEntry:
        """The entry for a graph's name or its default assistant's id.

        Raises:
            NotFoundError: there is none.
        """
        entry = self.entries.get(assistant_id) or self._by_assistant.get(assistant_id)
        if entry is None:
            known = ", ".join(sorted(self.entries))
            raise NotFoundError(f"No agent {assistant_id!r} here. Served: {known}.", field="assistant_id")
        return entry

    @contextlib.asynccontextmanager
    async def open(
        self,
        graph_id: str,
        config: RunnableConfig | None = None,
        *,
        purpose: Purpose,
        context: Json | None = None,
        stateless: bool = False,
    ) -> AsyncIterator[AnyGraph]:
        """A graph, ready to run; a plain Runnable as a graph of its own.

        A factory is called anew each time, with the config and the runtime that it asks for.

        Args:
            graph_id: its name, or the id of its default assistant.
            config: for a factory.
            purpose: likewise; what the graph is opened for.
            context: likewise; the run's.
            stateless: without the checkpointer.

        Raises:
            NotFoundError: no such graph.
            FactoryError: a factory failed, or gave no graph.
        """
        entry = self.find(graph_id)
        if not isinstance(entry.target, Factory):
            ready = self._ready[stateless]
            if entry.graph_id not in ready:
                ready[entry.graph_id] = self._with_storage(entry.graph_id, entry.target, stateless=stateless)
            yield ready[entry.graph_id]
            return
        config = _with_caller(config or {})
        runtime = server_runtime(purpose, config, self.store, context)
        async with contextlib.AsyncExitStack() as stack:
            graph = await _made(entry.graph_id, entry.target, config, runtime, stack)
            yield self._with_storage(entry.graph_id, graph, stateless=stateless)

    def _with_storage(self, graph_id: str, target: Runnable[Any, Any], *, stateless: bool) -> AnyGraph:
        graph = target if isinstance(target, Pregel) else RunnableGraph.of(target, graph_id)
        update: dict[str, Any] = {"name": graph_id} if graph.name == _UNNAMED else {}
        if self.checkpointer is not None:
            update["checkpointer"] = (
                None if stateless else self.checkpointer.with_allowlist(cast("Any", state_types(graph)))
            )
        if self.store is not None:
            update["store"] = self.store
        return graph.copy(update=update)


def _with_caller(config: RunnableConfig) -> RunnableConfig:
    """The config with who makes the request, unless it is a run's, which has the run's own caller."""
    configurable = {**settings_of_current(), **config.get("configurable", {})}
    return {**config, "configurable": configurable} if configurable else config


async def _made(
    graph_id: str, made_by: Factory, config: RunnableConfig, runtime: Any, stack: contextlib.AsyncExitStack
) -> Runnable[Any, Any]:
    try:
        return _runnable(await made_by.make(config, runtime, stack), "what the factory gives")
    except ThreadlineError as exc:
        logger.error("the factory of graph %r failed: %s", graph_id, exc.message)
        raise FactoryError(f"The factory of graph {graph_id!r} gives no graph.") from exc
    except Exception as exc:  # the boundary to the user's factory: logged, and reported by its class
        logger.exception("the factory of graph %r failed", graph_id)
        raise FactoryError(f"The factory of graph {graph_id!r} failed with {type(exc).__name__}.") from exc


def _runnable(target: Any, origin: str) -> Runnable[Any, Any]:
    if isinstance(target, StateGraph):
        target = target.compile()
    if not isinstance(target, Runnable):
        raise ConfigError(f"{origin} is a {type(target).__name__}, not a graph or a Runnable.")
    return target


def load(path: Path) -> dict[str, GraphEntry]:
    """Reads langgraph.json: sets `env`, makes `dependencies` importable, imports every graph.

    Args:
        path: the file. Relative paths in it start from its folder.

    Raises:
        ConfigError: the file, or a graph that it names, cannot be used; the message names file and attribute.
    """
    document = read_config(path)
    root = path.resolve().parent
    for complaint in _unused(document):
        logger.warning("langgraph.json: %s", complaint)
    for complaint in _set_env(document.get("env"), root):
        logger.warning(complaint)
    project = _project(document, root)
    for folder in project.absent:
        logger.warning("langgraph.json: the folder %r of 'dependencies' does not exist.", folder)
    project.enter()
    return {graph_id: _load_entry(graph_id, spec, project) for graph_id, spec in document["graphs"].items()}


def read_config(path: Path) -> dict[str, Any]:
    """langgraph.json as it stands.

    Raises:
        ConfigError: the file cannot be read, or names no graphs.
    """
    try:
        document = loads(path.read_bytes())
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist. Name another file with --config or THREADLINE_CONFIG.") from None
    except ValueError as exc:
        raise ConfigError(f"{path} is not JSON: {exc}.") from exc
    graphs = document.get("graphs") if isinstance(document, dict) else None
    if not isinstance(graphs, dict) or not graphs:
        raise ConfigError(f'{path} names no graphs: "graphs" maps each name to "module:attribute".')
    return document  # type: ignore[no-any-return]  # an object, as checked above


def _unused(document: dict[str, Any]) -> Iterator[str]:
    """What stands in langgraph.json without an effect here.

    Raises:
        ConfigError: the owner relies on what this server does not do.
    """
    if document.get("encryption"):
        raise ConfigError('"encryption" is not supported: everything would be stored in clear.')
    for name, value in document.items():
        if value is None or name in _HONOURED or name in _OF_IMAGES:
            continue
        if name in _UNSUPPORTED:
            yield f"{name!r} is not supported, and has no effect."
            continue
        close = difflib.get_close_matches(name, _HONOURED | _UNSUPPORTED, n=1)
        yield f"nothing is known of {name!r}, which has no effect" + (f": {close[0]!r} is." if close else ".")
    for graph_id, spec in document["graphs"].items():
        if isinstance(spec, dict) and (unknown := sorted(spec.keys() - {"path", "description"})):
            yield f"nothing is known of {', '.join(unknown)} of graph {graph_id!r}, which has no effect."


def apply_env(path: Path) -> None:
    """Sets what `env` of langgraph.json says, so that settings may stand there too; `load` warns of what is amiss.

    Args:
        path: the file; without one nothing is set.

    Raises:
        ConfigError: the file cannot be used.
    """
    if path.is_file():
        _set_env(read_config(path).get("env"), path.resolve().parent)


def _set_env(env: Any, root: Path) -> list[str]:
    """The file, or the object, goes before what the process has set, as with LangGraph's own command line.

    Returns:
        What to warn of.
    """
    match env:
        case None:
            return []
        case str():
            if not (root / env).is_file():
                return [f'The file {env!r} that "env" names does not exist.']
            values = dotenv_values(root / env)
        case dict() if all(isinstance(value, str | int | float) for value in env.values()):
            values = {name: str(value) for name, value in env.items()}
        case list() if all(isinstance(name, str) for name in env):
            # They are the process's own, and only have to be there.
            unset = [name for name in env if name not in os.environ]
            return [f'"env" names {", ".join(unset)}, which the environment does not have.'] if unset else []
        case _:
            raise ConfigError('"env" is neither a file\'s name, nor an object of texts, nor a list of names.')
    for name, value in values.items():
        if value is None:  # a name alone
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    return []


def _load_entry(graph_id: str, spec: Any, project: Project) -> GraphEntry:
    description = None
    if isinstance(spec, dict):
        spec, description = spec.get("path"), spec.get("description")
    module, target = _attribute(f"Graph {graph_id!r}", spec, project)
    origin = f"Graph {graph_id!r}: {spec}"
    if callable(target) and not isinstance(target, Runnable | StateGraph):
        target = factory(target, origin)
    else:
        target = _runnable(target, origin)
    return GraphEntry(graph_id, target, description, module.__name__)


def load_attribute(what: str, spec: Any, config: Path) -> Any:
    """What a "module:attribute" or "./file.py:attribute" names.

    Args:
        what: names the entry in messages.
        spec: as it stands in the file.
        config: langgraph.json, whose folder paths start from.

    Raises:
        ConfigError: it cannot be imported, or has no such attribute.
    """
    return _attribute(what, spec, read_project(config))[1]


def read_project(config: Path) -> Project:
    """The folders that a langgraph.json imports from.

    Raises:
        ConfigError: it cannot be used.
    """
    return _project(read_config(config), config.resolve().parent)


def _project(document: dict[str, Any], root: Path) -> Project:
    dependencies = document.get("dependencies") or []
    if not isinstance(dependencies, list) or not all(isinstance(each, str) for each in dependencies):
        raise ConfigError('"dependencies" is not a list of folders and packages.')
    return Project.of(root, dependencies)


def _attribute(what: str, spec: Any, project: Project) -> tuple[ModuleType, Any]:
    """A module, and what it has under the name."""
    if not isinstance(spec, str) or ":" not in spec:
        raise ConfigError(f'{what}: expected "module:attribute" or "./file.py:attribute", got {spec!r}.')
    source, _, attribute = spec.rpartition(":")
    module = _import(what, source, project)
    try:
        return module, getattr(module, attribute)
    except AttributeError:
        raise ConfigError(f"{what}: {source} has no attribute {attribute!r}.") from None


def _import(what: str, source: str, project: Project) -> ModuleType:
    try:
        return project.module(source)
    except (Exception, SystemExit) as exc:  # the boundary to the user's code: whatever it raises stops the start
        told = str(exc).replace("\n", " ")
        raise ConfigError(
            f"{what}: importing {source} failed{_place(exc, project.root)}: {type(exc).__name__}: {told}"
        ) from exc


def _place(exc: BaseException, root: Path) -> str:
    """Where in the project it was raised: " at file:line", for whoever starts the server."""
    if isinstance(exc, SyntaxError) and exc.filename:
        places = [(exc.filename, exc.lineno)]
    else:
        frames = traceback.extract_tb(exc.__traceback__)
        places = [(frame.filename, frame.lineno) for frame in frames]
    for filename, line in reversed(places):
        path = Path(filename)
        if path.is_relative_to(root) and "site-packages" not in path.parts:
            return f" at {path.relative_to(root)}:{line}"
    return ""
