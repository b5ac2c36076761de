"""Tracing: what a token costs when spans are exported to an OTLP endpoint, beside the same service without.

Rounds alternate between the two servers, which differ in one environment variable. In the table the one without is in
the place of bare. CPU time alone is compared: it is the server's own, whatever else the machine does.
"""

import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from benchmarks import processes, scripted
from benchmarks.figures import Figure
from benchmarks.load import LoadError
from benchmarks.streaming import rounds

_CLIENTS = 4
_MORE = 1.3


async def measure(folder: Path, *, quick: bool) -> list[Figure]:
    """Figures of tracing.

    Args:
        folder: for what the services store.
        quick: fewer rounds.

    Raises:
        LoadError: no spans arrived.
    """
    seconds = (1.0, 1.0) if quick else (4.0, 4.0, 4.0)
    starts = []
    with _endpoint() as (url, arrived):
        for name, variables in (("on", {"OTEL_EXPORTER_OTLP_ENDPOINT": url}), ("off", {})):
            (folder / name).mkdir()
            command, environment = processes.service(scripted.write_config(folder / name))
            starts.append((command, {**environment, **variables}))
        figures = []
        async with processes.all_running(*starts) as servers:
            await rounds(servers, "answer", scripted.ANSWER_TOKENS, _CLIENTS, (0.5,))
            for graph, tokens in (("answer", scripted.ANSWER_TOKENS), ("long", scripted.LONG_TOKENS)):
                on, off = (each.cpu_micros(tokens) for each in await rounds(servers, graph, tokens, _CLIENTS, seconds))
                name = f"CPU a token with traces, in place of bare: without, answers of {tokens:,}"
                figures.append(Figure(name, "us", on, off, f"<= {_MORE:g}x", on <= _MORE * off))
        if not arrived.is_set():
            raise LoadError("no spans arrived")
    return figures


@contextlib.contextmanager
def _endpoint() -> Iterator[tuple[str, threading.Event]]:
    """Takes everything and keeps nothing: its URL, and whether spans came."""
    arrived = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            if self.path == "/v1/traces":
                arrived.set()
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", arrived
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
