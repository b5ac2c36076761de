"""How long `/ok` waits while a client, a tenant or a model sends what is large or odd: nobody may be held up.

    a place ──a text or a structure of some size──> a real server <── /ok, again and again: the longest wait

`python -m tests.hostile.stalls` drives every place through sizes from 1 kB to the limit, structures also with as many
values as a body may have, and prints what is over the bound; with names it drives those that contain one of them.

What is over is sent once more, and counts if it is over again: a process beside this one that has the processor for a
moment is no fault of the server's, and what holds up the server does so each time.
"""

import asyncio
import contextlib
import http.client
import json
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from api.settings import Settings
from tests.faults.server import Project, Server

LIMIT = Settings.model_fields["max_body_bytes"].default
VALUES = Settings.model_fields["max_body_values"].default
SIZES = (1 << 10, 1 << 14, 1 << 17, 1 << 20, LIMIT - 4096)
BOUND = 0.25
"""Seconds over the longest wait when nothing else happens."""
_IDLE_SECONDS = 1.0
_PROBE_SECONDS = 0.005
_PATIENCE = 120.0
_ENDPOINTS = 7000
"""Characters that fit into a URL or a header."""

TEXTS: dict[str, str] = {
    "letters": "a",
    "colons": "://:",
    "paths": " /a",
    "tokens": "eyJ-",
    "keys": "password=",
    "brackets": "[",
    "braces": '{"a":',
    "quotes": '"',
    "escapes": "\\",
    "digits": "9",
    "sums": "1+",
    "minuses": "-",
    "opened": "(",
    "spaces": " ",
    "lines": "\n",
    "faces": "\U0001f600",
    "halves": "\ud800",
    "dots": "a.",
    "templates": "${{",
}
"""What is repeated, by name."""


_LARGEST = {unit: TEXTS[unit] for unit in ("letters", "colons", "brackets", "quotes", "faces")}
"""Of the limit itself: a few, as each takes a second."""


def text(unit: str, size: int) -> str:
    """A text of about so many bytes."""
    return unit * max(1, size // len(unit.encode("utf-8", "surrogatepass")))


def items(size: int, each: int, make: Callable[[int], Any]) -> list[Any]:
    """As many as have about so many bytes, if each has `each`."""
    return [make(number) for number in range(max(1, size // each))]


STRUCTURES: dict[str, Callable[[int], Any]] = {
    "numbers": lambda size: items(size, 2, lambda _: 1),
    "empty lists": lambda size: items(size, 3, lambda _: []),
    "keys": lambda size: {f"k{number}": number for number in range(size // 16 + 1)},
    "nested": lambda size: nested(min(190 if size < 1 << 19 else 24, size // 6 + 1), size),
    "texts": lambda size: items(size, 4, lambda _: "a"),
    "messages": lambda size: items(size, 32, lambda _: {"role": "user", "content": "a"}),
}


FULL = {"numbers": 2, "empty lists": 3 / 2, "keys": 16, "texts": 4, "messages": 32 / 3}
"""Bytes for each value that counts: with so many times VALUES a structure is as large as a body may have it."""
LONGEST_REPLY = 1 << 20
"""Bytes that a model or a node writes at most here, twice what the longest reply of any model has. LangChain parses the
arguments of a call letter by letter if they are no JSON, and LangGraph looks at each letter of a text that a node
returns, both on the loop, inside the graph: 0.15 and 0.08 s a megabyte, which nothing outside of it can move."""


def nested(depth: int, size: int) -> Any:
    """Objects within each other, with a text that fills them up."""
    value: Any = "a" * max(1, size - 6 * depth)
    for _ in range(depth):
        value = {"a": value}
    return value


@dataclass(frozen=True)
class Request:
    """What is sent."""

    method: str
    path: str
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Wait:
    """What came of one place at one size."""

    name: str
    size: int
    longest: float
    """Seconds that `/ok` waited at most."""
    took: float
    status: int


def encoded(body: Any) -> bytes:
    """JSON, lone surrogates as escapes."""
    return json.dumps(body).encode()


class Places:
    """Every place of a request that takes a text or a structure.

    Args:
        ids: of a thread that has run and of an assistant, for what needs one.
    """

    def __init__(self, thread_id: str, run_id: str, assistant_id: str) -> None:
        self._thread, self._run, self._assistant = thread_id, run_id, assistant_id

    def of_text(self) -> Iterator[tuple[str, Callable[[str], Request]]]:
        """Where a text goes."""
        for name, path, make in self._bodies():
            yield name, lambda value, path=path, make=make: Request("POST", path, encoded(make(value)))  # type: ignore[misc]
        for name, path in self._queries():
            yield name, lambda value, path=path: Request("GET", path.replace("{}", quoted(value)))  # type: ignore[misc]
        for header in (
            "last-event-id",
            "x-request-id",
            "traceparent",
            "authorization",
            "accept",
            "x-api-key",
            "prefer",
        ):
            yield (
                f"header {header}",
                lambda value, header=header: Request(  # type: ignore[misc]
                    "GET", f"/threads/{self._thread}/runs/{self._run}/stream", headers={header: headed(value)}
                ),
            )

    def of_structures(self) -> Iterator[tuple[str, Callable[[Any], Request]]]:
        """Where a structure goes."""
        wide = [
            ("input", "/runs/wait", lambda v: self._of_run(input={"anything": v})),
            ("native input", "/agents/counting/invoke", lambda v: {"input": {"anything": v}}),
            ("messages", "/runs/wait", lambda v: self._of_run(input={"messages": v})),
            ("native messages", "/agents/counting/stream", lambda v: {"input": {"messages": v}}),
            ("all streams", "/runs/stream", lambda v: self._of_run(input={"messages": v}, stream_mode=MODES)),
            ("configurable", "/runs/wait", lambda v: self._of_run(config={"configurable": {"a": v}})),
            ("config", "/runs/wait", lambda v: self._of_run(config={"a": v})),
            ("tags", "/runs/wait", lambda v: self._of_run(config={"tags": v})),
            ("context", "/runs/wait", lambda v: self._of_run(context={"a": v})),
            ("interrupt_before", "/runs/wait", lambda v: self._of_run(interrupt_before=v)),
            ("stream_mode", "/runs/wait", lambda v: self._of_run(stream_mode=v)),
            ("command update", NEW, lambda v: self._of_run(command={"update": v})),
            ("command goto", NEW, lambda v: self._of_run(command={"goto": v})),
            ("command resume", NEW, lambda v: self._of_run(command={"resume": v})),
            ("run metadata", "/runs/wait", lambda v: self._of_run(metadata={"a": v})),
            ("batch", "/runs/batch", lambda v: v),
            ("native batch", "/agents/counting/batch", lambda v: {"inputs": v}),
            ("state", "/threads", lambda v: _stepped({"messages": v, "anything": v})),
            ("supersteps", "/threads", lambda v: {"supersteps": v}),
            ("updates", "/threads", lambda v: {"metadata": {"graph_id": "counting"}, "supersteps": [{"updates": v}]}),
            ("thread metadata", "/threads", lambda v: {"metadata": {"a": v}}),
            ("search metadata", "/threads/search", lambda v: {"metadata": {"a": v}}),
            ("search values", "/threads/search", lambda v: {"values": {"a": v}}),
            ("search ids", "/threads/search", lambda v: {"ids": v}),
            ("search select", "/threads/search", lambda v: {"select": v}),
            ("search extract", "/threads/search", lambda v: {"extract": v}),
            ("prune", "/threads/prune", lambda v: {"thread_ids": v}),
            ("history", f"/threads/{self._thread}/history", lambda v: {"metadata": {"a": v}, "before": {"a": v}}),
            ("checkpoint", f"/threads/{self._thread}/state/checkpoint", lambda v: {"checkpoint": {"a": v}}),
            ("assistant config", "/assistants", lambda v: {"graph_id": "counting", "config": {"a": v}}),
            ("assistant search", "/assistants/search", lambda v: {"metadata": {"a": v}, "select": v}),
            ("cron", "/runs/crons", lambda v: self._of_run(schedule="0 0 1 1 *", input={"a": v}, a=v)),
            ("item namespace", "/store/items", lambda v: {"namespace": v, "key": "k", "value": {}}),
            ("item value", "/store/items", lambda v: {"namespace": ["a"], "key": "k", "value": {"a": v}}),
            ("item index", "/store/items", lambda v: {"namespace": ["a"], "key": "k", "value": {}, "index": v}),
            ("item filter", "/store/items/search", lambda v: {"filter": {"a": v}}),
            ("item filters", "/store/items/search", lambda v: {"filter": v}),
            ("item prefix", "/store/items/search", lambda v: {"namespace_prefix": v}),
            ("namespaces", "/store/namespaces", lambda v: {"prefix": v, "suffix": v}),
            ("events", "/agents/counting/events", lambda v: {"input": {"count": 1}, "include_names": v}),
        ]
        for name, path, make in wide:
            method = "PUT" if path == "/store/items" else "POST"
            yield (
                name,
                lambda value, method=method, path=path, make=make: Request(  # type: ignore[misc]
                    method, path, encoded(make(value))
                ),
            )

    def of_sizes(self) -> Iterator[tuple[str, Callable[[int], Request]]]:
        """What a model or a node writes of a size that the input names, and bodies that are no JSON."""
        for kind in ("raise", "value", "content", "args", "calls", "chunks", "custom", "interrupt", "answer"):
            for unit in ("letters", "colons", "braces", "quotes", "tokens"):
                yield (
                    f"model {kind} {unit}",
                    lambda size, kind=kind, unit=unit: Request(  # type: ignore[misc]
                        "POST",
                        "/agents/saying/invoke",
                        encoded({"input": {"kind": kind, "unit": TEXTS[unit], "size": size}}),
                    ),
                )
        for name, unit in (
            ("brackets", b"["),
            ("braces", b'{"a":'),
            ("commas", b","),
            ("spaces", b" "),
            ("zeros", b"0"),
        ):
            yield f"body {name}", lambda size, unit=unit: Request("POST", "/threads", unit * (size // len(unit)))  # type: ignore[misc]
        yield (
            "uuids to prune",
            lambda size: Request("POST", "/threads/prune", encoded({"thread_ids": items(size, 39, _uuid)})),
        )
        yield "uuids to find", lambda size: Request("POST", "/threads/search", encoded({"ids": items(size, 39, _uuid)}))
        yield (
            "tool calls",
            lambda size: Request("POST", "/runs/wait", encoded(self._of_run(input={"messages": [_calling(size)]}))),
        )
        yield (
            "parts of content",
            lambda size: Request(
                "POST",
                "/runs/wait",
                encoded(self._of_run(input={"messages": [{"role": "user", "content": items(size, 30, _part)}]})),
            ),
        )
        yield (
            "a photo",
            lambda size: Request(
                "POST",
                "/agents/counting/stream",
                encoded({"input": {"messages": [{"role": "user", "content": [_photo(size)]}]}}),
            ),
        )

    def _of_run(self, **options: Any) -> dict[str, Any]:
        return {"assistant_id": "counting", "input": {"count": 1}, "if_not_exists": "create", **options}

    def _bodies(self) -> Iterator[tuple[str, str, Callable[[str], Any]]]:
        thread = f"/threads/{self._thread}"
        yield "role", "/runs/wait", lambda v: self._of_run(input={"messages": [{"role": v, "content": "x"}]})
        yield "type", "/runs/wait", lambda v: self._of_run(input={"messages": [{"type": v, "content": "x"}]})
        yield "message", "/runs/wait", lambda v: self._of_run(input={"messages": [v]})
        yield "content", "/runs/wait", lambda v: self._of_run(input={"messages": [{"role": "user", "content": v}]})
        yield "message id", "/runs/wait", lambda v: self._of_run(input={"messages": [_user(id=v, name=v)]})
        yield "tool call", "/runs/wait", lambda v: self._of_run(input={"messages": [_call(v)]})
        yield "input key", "/runs/wait", lambda v: self._of_run(input={v: 1})
        yield "bad input", "/runs/wait", lambda v: self._of_run(input={"count": v, "messages": v})
        yield "events of a stream", "/runs/stream", lambda v: self._of_run(input={"anything": v}, stream_mode=MODES)
        yield "native input", "/agents/counting/invoke", lambda v: {"input": v}
        yield "question", "/agents/agent/invoke", lambda v: {"input": v}
        yield "native resume", "/agents/counting/invoke", lambda v: {"resume": v, "thread_id": self._thread}
        yield "native thread", "/agents/counting/invoke", lambda v: {"input": {}, "thread_id": v}
        yield "native field", "/agents/counting/invoke", lambda v: {"input": {}, v: 1}
        yield "assistant of a run", "/runs/wait", lambda v: {"assistant_id": v}
        yield "configurable", "/runs/wait", lambda v: self._of_run(config={"configurable": {v[:99]: v, v: 1}})
        yield "context", "/runs/wait", lambda v: self._of_run(context={v: v})
        yield "tag", "/runs/wait", lambda v: self._of_run(config={"tags": [v]})
        yield "run metadata", "/runs/wait", lambda v: self._of_run(metadata={v: v})
        yield "checkpoint of a run", NEW, lambda v: self._of_run(checkpoint_id=v)
        yield "checkpoint", NEW, lambda v: self._of_run(checkpoint={"checkpoint_ns": v})
        yield "goto", NEW, lambda v: self._of_run(command={"goto": v})
        yield "resume", NEW, lambda v: self._of_run(command={"resume": v})
        yield "update", NEW, lambda v: self._of_run(command={"update": {v: v}})
        yield "interrupt_before", "/runs/wait", lambda v: self._of_run(interrupt_before=[v])
        yield "stream_mode", "/runs/wait", lambda v: self._of_run(stream_mode=v)
        yield "webhook", "/runs/wait", lambda v: self._of_run(webhook=f"http://127.0.0.1:9/{v}")
        yield "host of a webhook", "/runs/wait", lambda v: self._of_run(webhook=f"http://{v}/")
        yield "as_node", f"{thread}/state", lambda v: {"values": {"count": 1}, "as_node": v}
        yield "state", "/threads", lambda v: _stepped({"messages": v, v: v})
        yield "state's checkpoint", f"{thread}/state/checkpoint", lambda v: {"checkpoint": {"checkpoint_id": v, v: v}}
        yield "history", f"{thread}/history", lambda v: {"before": {"checkpoint_id": v}, "metadata": {v: v}}
        yield "superstep", "/threads", lambda v: _steps(v)
        yield "thread id", "/threads", lambda v: {"thread_id": v}
        yield "thread metadata", "/threads", lambda v: {"metadata": {v[:1000]: v, v: 1}}
        yield "search metadata", "/threads/search", lambda v: {"metadata": {v: v}}
        yield "search values", "/threads/search", lambda v: {"values": {v: v, "anything": v}}
        yield "search extract", "/threads/search", lambda v: {"extract": {"a": f"values.{v}", v: "values"}}
        yield "search select", "/threads/search", lambda v: {"select": [v], "sort_by": v}
        yield "assistant", "/assistants", lambda v: {"graph_id": "counting", "name": v, "description": v}
        yield "graph id", "/assistants", lambda v: {"graph_id": v}
        yield "assistant search", "/assistants/search", lambda v: {"name": v, "metadata": {v: v}}
        yield "schedule", "/runs/crons", lambda v: self._of_run(schedule=v)
        yield "timezone", "/runs/crons", lambda v: self._of_run(schedule="0 0 1 1 *", timezone=v)
        yield "end of a cron", "/runs/crons", lambda v: self._of_run(schedule="0 0 1 1 *", end_time=v)
        yield "item filter", "/store/items/search", lambda v: {"filter": {v: v, "a": {"$lt": v}}}
        yield "item prefix", "/store/items/search", lambda v: {"namespace_prefix": [v], "query": v}
        yield "namespaces", "/store/namespaces", lambda v: {"prefix": [v], "suffix": [v]}
        yield "included name", "/agents/counting/events", lambda v: {"input": {"count": 1}, "include_names": [v]}

    def _queries(self) -> Iterator[tuple[str, str]]:
        yield "path", "/threads/{}"
        yield "agent's name", "/agents/{}"
        yield "run's id", f"/threads/{self._thread}/runs/{{}}"
        yield "checkpoint's id", f"/threads/{self._thread}/state/{{}}"
        yield "history's limit", f"/threads/{self._thread}/history?limit={{}}&before={{}}"
        yield "selected", f"/threads/{self._thread}/state?select={{}}"
        yield "item's namespace", "/store/items?namespace={}&key={}"
        yield "subgraph's namespace", f"/assistants/{self._assistant}/subgraphs/{{}}"
        yield "drawing", f"/assistants/{self._assistant}/graph?xray={{}}"


NEW = "/threads/new/runs/wait"
"""Of a thread for this request alone: what one place left would else weigh on the next."""
MODES = ["values", "messages", "updates", "custom", "debug", "tasks", "checkpoints"]


def _user(**fields: Any) -> dict[str, Any]:
    return {"role": "user", "content": "x", **fields}


def _call(value: str) -> dict[str, Any]:
    return {"role": "ai", "content": "", "tool_calls": [{"name": value, "args": {value: value}, "id": value}]}


def _calling(size: int) -> dict[str, Any]:
    calls = items(size, 40, lambda number: {"name": "a", "args": {}, "id": str(number)})
    return {"role": "ai", "content": "", "tool_calls": calls}


def _part(_: int) -> dict[str, str]:
    return {"type": "text", "text": "a"}


def _photo(size: int) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": "data:image/jpeg;base64," + "A" * size}}


def _stepped(values: Any) -> dict[str, Any]:
    steps = [{"updates": [{"as_node": "node", "values": values}]}]
    return {"metadata": {"graph_id": "counting"}, "supersteps": steps}


def _steps(value: str) -> dict[str, Any]:
    return {"metadata": {"graph_id": "counting"}, "supersteps": [{"updates": [{"as_node": value, "values": {}}]}]}


def _uuid(number: int) -> str:
    return f"{number:032x}"


def quoted(value: str) -> str:
    """As much of a text as fits into a URL."""
    return quote(value.encode("utf-8", "surrogatepass"), safe="")[:_ENDPOINTS].rstrip("%0123456789ABCDEF") or "x"


def headed(value: str) -> str:
    """As much of a text as fits into a header."""
    return "".join(letter for letter in value if 32 <= ord(letter) < 127)[:_ENDPOINTS].strip() or "x"


class Driver:
    """Sends requests to a server while another thread asks it whether it is there.

    Args:
        url: of the server.
    """

    def __init__(self, url: str) -> None:
        self._address = urlsplit(url).netloc
        self._longest = 0.0
        self._asked = 0
        self._ended = threading.Event()
        self._probing = threading.Thread(target=self._probe, daemon=True)
        self._probing.start()
        self.idle = 0.0
        """The longest wait while nothing else happens."""

    def close(self) -> None:
        """Stops asking."""
        self._ended.set()
        self._probing.join()

    def rest(self) -> None:
        """Measures what `/ok` takes when nothing else happens."""
        self._longest = 0.0
        time.sleep(_IDLE_SECONDS)
        self.idle = max(self.idle, self._longest)

    def send(self, name: str, size: int, request: Request) -> Wait:
        """Sends a request, and reads its answer to the end."""
        self._longest = 0.0
        began = time.perf_counter()
        status = self.ask(request)[0]
        took = time.perf_counter() - began
        # What the run does after the answer counts too, as does the question that is under way.
        asked = self._asked
        while self._asked < asked + 2:
            time.sleep(_PROBE_SECONDS)
        return Wait(name, size, self._longest, took, status)

    def ask(self, request: Request) -> tuple[int, bytes]:
        """Status and body of the answer; 0 if there is none."""
        connection = http.client.HTTPConnection(self._address, timeout=_PATIENCE)
        with contextlib.closing(connection):
            try:
                path = request.path.replace("/new/", f"/{uuid.uuid4()}/")
                connection.request(request.method, path, request.body, request.headers)
                answer = connection.getresponse()
                return answer.status, answer.read()
            except (http.client.HTTPException, OSError):
                return 0, b""

    def _probe(self) -> None:
        while not self._ended.is_set():
            connection = http.client.HTTPConnection(self._address, timeout=_PATIENCE)
            with contextlib.closing(connection), contextlib.suppress(http.client.HTTPException, OSError):
                while not self._ended.is_set():
                    began = time.perf_counter()
                    connection.request("GET", "/ok")
                    connection.getresponse().read()
                    self._longest = max(self._longest, time.perf_counter() - began)
                    self._asked += 1
                    time.sleep(_PROBE_SECONDS)


@contextlib.contextmanager
def served(folder: Path) -> Iterator[Driver]:
    """A server in a process of its own, with the graphs of these tests, and its driver."""
    root = Path(__file__).parents[2]
    project = Project(folder, MAX_ATTEMPTS=3)
    graphs = {name: f"{root}/tests/hostile/graphs.py:{name}" for name in ("counting", "saying")}
    graphs["agent"] = f"{root}/graph/agent.py:graph"
    (folder / "langgraph.json").write_text(json.dumps({"graphs": graphs}))
    server = Server(project)
    with asyncio.Runner() as runner:
        runner.run(server.start())
        driver = Driver(server.url)
        try:
            yield driver
        finally:
            driver.close()
            runner.run(server.kill())


def places(driver: Driver) -> Places:
    """Places of a server, with a thread that has run and an assistant."""
    thread = json.loads(driver.ask(Request("POST", "/threads", b"{}"))[1])["thread_id"]
    run = encoded({"assistant_id": "counting", "input": {"count": 1}})
    driver.ask(Request("POST", f"/threads/{thread}/runs/wait", run))
    made = json.loads(driver.ask(Request("GET", f"/threads/{thread}/runs"))[1])[0]["run_id"]
    assistant = json.loads(driver.ask(Request("POST", "/assistants", b'{"graph_id":"counting"}'))[1])["assistant_id"]
    return Places(thread, made, assistant)


def cases(of: Places, sizes: tuple[int, ...]) -> Iterator[tuple[str, int, Request]]:
    """Every place with every text or structure, in every size."""
    for size in sizes:
        for name, send in of.of_text():
            for unit, repeated in TEXTS.items() if size < SIZES[-1] else _LARGEST.items():
                # A place may take it more than once.
                yield f"{name}: {unit}", size, send(text(repeated, size // 4))
        for name, fill in of.of_structures():
            for shape, make in STRUCTURES.items():
                yield f"{name}: {shape}", size, fill(make(size // 2))
        for name, of_size in of.of_sizes():
            if size <= LONGEST_REPLY or not name.startswith("model"):
                yield name, size, of_size(size)
    for name, fill in of.of_structures():
        for shape, each in FULL.items():
            size = int(each * (VALUES - 100))
            yield f"{name}: {shape}, all that are taken", size, fill(STRUCTURES[shape](size))


def tell(line: str) -> None:
    """Says how far it is, whoever reads it by a pipe."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main(names: list[str]) -> int:
    """Drives a server, and says what held it up: the number of places over the bound."""
    over: list[Wait] = []
    worst: dict[str, Wait] = {}
    with tempfile.TemporaryDirectory() as folder, served(Path(folder)) as driver:
        driver.rest()
        for name, size, request in cases(places(driver), SIZES):
            if names and not any(each in name for each in names):
                continue
            wait = driver.send(name, size, request)
            if wait.longest > driver.idle + BOUND:
                wait = min(wait, driver.send(name, size, request), key=lambda each: each.longest)
            place = name.partition(":")[0]
            worst[place] = max(worst.get(place, wait), wait, key=lambda each: each.longest)
            if wait.longest > driver.idle + BOUND or not wait.status:
                over.append(wait)
                tell(f"OVER {wait.longest:8.3f} s  {wait.size:>9} bytes  {wait.status}  {wait.name}")
        driver.rest()
        tell(f"\nlongest wait of /ok, idle: {driver.idle:.3f} s; the bound is {BOUND} s more")
    for wait in sorted(worst.values(), key=lambda each: -each.longest):
        tell(f"{wait.longest:8.3f} s  {wait.size:>9} bytes  {wait.status}  {wait.name}")
    return len(over)


if __name__ == "__main__":
    sys.exit(min(main(sys.argv[1:]), 1))
