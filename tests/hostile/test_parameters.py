"""Ids, cursors, limits and bodies that no honest client sends: each is answered clearly, and nothing is forged."""

import json
import re
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.hostile.conftest import Serve
from tests.hostile.test_document import DOCUMENT, OPERATIONS, Target

NASTY = [
    "0", "-1", "9" * 19, "9" * 5000, "-" + "9" * 30, "1e3", "1.5", "٣", "NaN", "null", "[]", "[", "\0", "\n",
    "a\r\nx-forged: 1", "../../etc/passwd", "..", "é", "💥", "x" * 10_000, "%", "'; DROP TABLE runs; --", "{}", " ", "",
]  # fmt: skip
ODD_NUMBERS: list[Any] = [-1, 0, 10**9, 2**53, 2**63, 2**64, -(2**63), 1.5, 1e308, True]
BODY = {
    "assistant_id": "counting",
    "graph_id": "counting",
    "input": {"count": 1},
    "schedule": "0 0 1 1 *",
    "namespace": ["a"],
    "key": "k",
    "value": {},
    "inputs": [{"count": 1}],
    "thread_ids": [],
    "checkpoint": {},
    "version": 1,
}
"""What a body may need to have."""


@pytest.fixture(scope="module")
def target(serve_in_thread: Serve) -> Iterator[Target]:
    with serve_in_thread() as url:
        yield Target(url)


@pytest.fixture(scope="module")
def http(target: Target) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=target.url, timeout=20) as client:
        yield client


def check(answer: httpx.Response) -> None:
    """A success, or a refusal that says why."""
    assert answer.status_code < 500 or answer.status_code == 501, answer.text
    assert "x-forged" not in answer.headers
    if answer.status_code >= 400:
        assert answer.json()["error"]["message"]


def located(target: Target, path: str, **given: str) -> str:
    """The path with ids in it: those that are there, but for the given ones."""
    return re.sub(r"{(\w+)}", lambda found: given.get(found[1]) or target.ids.get(found[1], "x"), path)


@pytest.mark.parametrize(("path", "method"), [(path, method) for path, method in OPERATIONS if "{" in path])
def test_no_id_makes_the_server_fail(http: httpx.Client, target: Target, path: str, method: str) -> None:
    body = {} if "requestBody" in DOCUMENT["paths"][path][method] else None
    for name in re.findall(r"{(\w+)}", path):
        for value in NASTY[5:]:
            check(http.request(method, located(target, path, **{name: quote(value, safe="")}), json=body))


def query_parameters() -> Iterator[tuple[str, str]]:
    for path, method in OPERATIONS:
        for parameter in DOCUMENT["paths"][path][method].get("parameters", ()):
            if parameter["in"] == "query" and method == "get":
                yield path, parameter["name"]


@pytest.mark.parametrize(("path", "name"), list(query_parameters()))
def test_no_query_makes_the_server_fail(http: httpx.Client, target: Target, path: str, name: str) -> None:
    for value in NASTY:
        check(http.get(f"{located(target, path)}?{name}={quote(value, safe='')}"))


def numbers() -> Iterator[tuple[str, str, str]]:
    for path, method in OPERATIONS:
        reference = json.dumps(DOCUMENT["paths"][path][method].get("requestBody", {}))
        for model in re.findall(r"schemas/(\w+)", reference):
            for name, schema in DOCUMENT["components"]["schemas"][model].get("properties", {}).items():
                if re.search('"(integer|number)"', json.dumps(schema)) and name != "after_seconds":
                    yield path, method, name


@pytest.mark.parametrize(("path", "method", "name"), list(numbers()))
def test_no_number_makes_the_server_fail(http: httpx.Client, target: Target, path: str, method: str, name: str) -> None:
    schema = DOCUMENT["paths"][path][method]["requestBody"]["content"]["application/json"]["schema"]
    known = DOCUMENT["components"]["schemas"][schema["$ref"].rpartition("/")[2]]["properties"]
    for value in ODD_NUMBERS:
        body = {key: needed for key, needed in BODY.items() if key in known} | {name: value}
        check(http.request(method, located(target, path), json=body))


@pytest.fixture(scope="module")
def finished(target: Target) -> Target:
    """With a run that no other test deletes."""
    return Target(target.url)


CURSORS = st.one_of(
    st.integers().map(str),
    st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_categories=["Cc"]), max_size=50),
    st.sampled_from(["9" * 18, "9" * 19, "9" * 5000, "-1", "-0", "+1", "1_0", "0x1", "1 2", "\xb2"]),
)


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(cursor=CURSORS, modes=st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), max_size=5))
def test_no_cursor_or_mode_makes_a_stream_fail(
    http: httpx.Client, finished: Target, cursor: str, modes: list[str]
) -> None:
    runs = f"/threads/{finished.ids['thread_id']}/runs/{finished.ids['run_id']}/stream"
    headers = {b"last-event-id": cursor.strip().encode("latin-1")}
    for path in (runs, f"/agents/counting/stream/{finished.ids['run_id']}"):
        answer = http.get(path, headers=headers, params={"stream_mode": modes})  # type: ignore[arg-type]
        check(answer)
        assert answer.status_code in (200, 400)


BAD_JSON = {
    "nothing": b"",
    "deep lists": b'{"input":' + b"[" * 10_000 + b"]" * 10_000 + b"}",
    "deep objects": b'{"metadata":' + b'{"a":' * 500 + b"1" + b"}" * 500 + b"}",
    "NaN": b'{"input": NaN}',
    "infinity": b'{"input": 1e400}',
    "a number of a thousand digits": b'{"input": ' + b"9" * 1000 + b"}",
    "a lone surrogate": b'{"input": "\\ud800"}',
    "invalid UTF-8": b'{"input": "\xff\xfe"}',
    "a raw control character": b'{"input": "\n"}',
    "cut": b'{"input": "a',
    "two documents": b"{} {}",
    "not an object": b"[1, 2, 3]",
    "bytes": bytes(range(256)),
}


@pytest.mark.parametrize("body", BAD_JSON.values(), ids=BAD_JSON)
@pytest.mark.parametrize("path", ["/threads", "/runs/wait", "/agents/counting/invoke", "/store/items/search"])
def test_bad_json_is_refused(http: httpx.Client, path: str, body: bytes) -> None:
    answer = http.post(path, content=body)
    assert answer.status_code == 422
    check(answer)


def test_many_keys_and_double_ones_are_taken(http: httpx.Client) -> None:
    """As every JSON reader, the last of two equal keys wins; many keys take no longer than their bytes."""
    many = b"{" + b",".join(b'"%d":1' % number for number in range(9_000)) + b"}"
    answer = http.post("/agents/counting/invoke", content=b'{"input":{"count":1},"input":{"anything":%b}}' % many)
    assert answer.status_code == 200
    assert "count" in answer.json()["answer"]


@pytest.mark.parametrize("field", ["metadata", "values"])
def test_search_for_anything_is_answered(http: httpx.Client, field: str) -> None:
    for key in ("'", '"', "a.b", "$", "[0]", "\\", "%", "\n"):
        for value in (None, {}, [], {"$gt": 1}, "'", 2**70, 1e308):
            check(http.post("/threads/search", json={field: {key: value}}))


def test_an_id_cannot_forge_a_header(target: Target) -> None:
    """Python takes a line break and 31 digits for a UUID: what is made of it has neither."""
    odd = "%0A" + target.ids["thread_id"].replace("-", "")[1:]
    answer = raw(
        target.url,
        f"POST /threads/{odd}/runs/wait HTTP/1.1\r\nhost: a\r\ncontent-length: {len(RUN)}\r\n\r\n".encode() + RUN,
    )
    head = answer.partition(b"\r\n\r\n")[0]
    assert b"\n" not in head.replace(b"\r\n", b"")


RUN = json.dumps({"assistant_id": "counting", "input": {"count": 1}, "if_not_exists": "create"}).encode()


def raw(url: str, request: bytes) -> bytes:
    """What comes for bytes that no client library would send."""
    host, port = urlsplit(url).hostname, urlsplit(url).port
    with socket.create_connection((host, port), timeout=10) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        return connection.recv(1 << 20)
