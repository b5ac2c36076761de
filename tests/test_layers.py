"""The layer rule: lower modules of `api` never import higher ones, `graph` and `api` never import each other."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

LEVELS: list[set[str]] = [
    {
        "access_filter",
        "callers",
        "events",
        "schemas",
        "configs",
        "errors",
        "pages",
        "proofs",
        "redaction",
        "serde",
        "swagger_ui",
        "settings",
        "logs",
        "origins",
        "aside",
        "containment",
    },
    {"storage", "metrics", "tracker", "tracing", "telemetry", "otel", "loop_lag"},
    {
        "factories",
        "native_inputs",
        "project",
        "registry",
        "outputs",
        "runnables",
        "sources",
        "checkpointer_config",
        "retention",
        "store_config",
        "store_items",
        "brought_modules",
        "state_types",
        "stored_values",
        "states",
        "threads",
        "sweeper",
        "runs",
        "agents",
        "checkpoint_serde",
        "assistants",
        "cron_scheduler",
        "crons",
        "schedules",
        "webhook_rules",
        "webhooks",
        "deliverer",
        "json_schemas",
        "executor",
        "worker",
        "loop_watch",
        "protocols",
        "run_requests",
        "thread_streams",
        "views",
    },
    {
        "custom_app",
        "http_config",
        "sse",
        "api_keys",
        "auth",
        "authentication",
        "web_origins",
        "guard",
        "headers",
        "deps",
        "routes",
        "responses",
        "body_limit",
        "boundary",
        "request_scope",
        "request_limits",
        "answers",
        "openapi",
        "turns",
    },
    {"app", "cli"},
]
"""DESIGN's table, a set of modules and packages of `api` for each level."""

_LEVEL = {name: level for level, names in enumerate(LEVELS) for name in names}


def _modules(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def _imports(path: Path) -> Iterator[str]:
    """Absolute names of all that a module imports at run time."""
    tree = ast.parse(path.read_text())
    guarded = {
        id(child)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for child in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in guarded:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _noun(name: str) -> str:
    parts = name.split(".")
    return parts[1] if parts[0] == "api" and len(parts) > 1 else ""


@pytest.mark.parametrize("path", _modules("api"), ids=lambda path: str(path.relative_to(ROOT)))
def test_service_imports_only_its_level_and_below(path: Path) -> None:
    noun = path.relative_to(ROOT / "api").with_suffix("").parts[0]
    if noun == "__init__":
        assert list(_imports(path)) == []
        return
    assert noun in _LEVEL, f"{noun} has no level: add it to LEVELS, at the place that DESIGN gives it"
    for name in _imports(path):
        assert not name.startswith("graph"), f"{noun} imports {name}: the service loads graphs, it does not know them"
        if target := _noun(name):
            assert _LEVEL[target] <= _LEVEL[noun], f"{noun} imports the higher {name}"


@pytest.mark.parametrize("path", _modules("graph"), ids=lambda path: str(path.relative_to(ROOT)))
def test_graph_imports_relatively_and_never_the_service(path: Path) -> None:
    for name in _imports(path):
        assert name.split(".")[0] not in {"api", "graph"}, f"{path.name} imports {name}"


def test_protocols_do_no_io() -> None:
    for path in (ROOT / "api" / "protocols").glob("*.py"):
        reached = {name.split(".")[0] for name in _imports(path)} | {_noun(name) for name in _imports(path)}
        assert not reached & {"asyncio", "httpx", "fastapi", "starlette", "sqlite3", "storage", "runs", "executor"}


def test_drivers_are_imported_only_by_their_backend() -> None:
    for path in _modules("api"):
        if "storage" not in path.parts:
            assert not {"sqlite3", "asyncpg", "psycopg", "redis"} & {name.split(".")[0] for name in _imports(path)}


def test_opentelemetry_is_imported_only_where_it_is_optional() -> None:
    for path in _modules("api"):
        if "otel" not in path.parts:
            assert "opentelemetry" not in {name.split(".")[0] for name in _imports(path)}, path
