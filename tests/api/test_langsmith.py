"""LangSmith: LangChain's own tracing still works under the service, when its variables are set and only then."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

SCRIPT = """
import asyncio, json, sys
import httpx
from api.app import create_app
from api.settings import Settings

async def main():
    app = create_app(Settings(config=sys.argv[1]))
    async with app.router.lifespan_context(app):
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app") as client:
            info = (await client.get("/info")).json()
            run = (await client.post("/agents/inner/invoke", json={"input": "hi"}, timeout=30)).json()
    print(json.dumps({"langsmith": info["flags"]["langsmith"], **run}))

asyncio.run(main())
"""

INFO = {
    "version": "0.1",
    "batch_ingest_config": {
        "use_multipart_endpoint": False,
        "size_limit": 100,
        "size_limit_bytes": 20_971_520,
        "scale_up_nthreads_limit": 16,
        "scale_up_qsize_trigger": 1000,
        "scale_down_nempty_trigger": 4,
    },
}
"""What the client asks LangSmith for first: how to send."""


@contextmanager
def _langsmith() -> Iterator[tuple[str, list[tuple[str, bytes]]]]:
    """An endpoint that takes whatever LangSmith's client sends: its URL, and the requests."""
    requests: list[tuple[str, bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _take(self) -> None:
            if self.headers.get("transfer-encoding") == "chunked":
                body = b""
                while size := int(self.rfile.readline(), 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
            else:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
            requests.append((self.path, body))
            answer = json.dumps(INFO if self.path.endswith("/info") else {}).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_POST = do_PATCH = _take  # noqa: N815  # as http.server calls them

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", requests
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _run(config: Path, **variables: str) -> dict[str, Any]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("LANGSMITH", "LANGCHAIN"))}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(config)],
        env=environment | variables,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


@pytest.mark.parametrize("tracing", [True, False])
def test_runs_arrive_if_the_variables_are_set_and_only_then(config: Path, tracing: bool) -> None:
    with _langsmith() as (url, requests):
        variables = {"LANGSMITH_ENDPOINT": url, "LANGSMITH_API_KEY": "lsv2_pt_test"}
        run = _run(config, **variables, **({"LANGSMITH_TRACING": "true"} if tracing else {}))
    assert run["status"] == "success"
    assert run["langsmith"] is tracing
    if not tracing:
        assert requests == []
        return
    sent = [json.loads(body) for path, body in requests if path.endswith("/runs/batch")]
    posted = {each["id"]: each for batch in sent for each in batch["post"]}
    root = posted[run["run_id"]]
    assert root["extra"]["metadata"].items() >= {"run_id": run["run_id"], "thread_id": run["thread_id"]}.items()
    assert {each["run_type"] for each in posted.values()} >= {"chain", "llm", "tool"}
    assert all(each["trace_id"] == run["run_id"] for each in posted.values())
