"""Webhooks: where they may go, what they carry, and how often they are tried."""

import asyncio
import base64
import contextlib
import dataclasses
import hmac
import json
import tempfile
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from api.app import create_app
from api.cli.webhooks import webhooks as list_webhooks
from api.deliverer import Deliverer
from api.errors import ConfigError, InvalidRequestError, ThreadlineError
from api.schemas import Delivery, Outcome, Run
from api.settings import Settings
from api.storage.sqlite import SqliteStorage
from api.webhook_rules import WebhookConfig, load_webhook_config
from api.webhooks import Webhooks, signing_secrets
from tests.api.conftest import Client
from tests.contract.backends import make_thread
from tests.serving import serving

STARTED = datetime(2026, 6, 1, 12, tzinfo=UTC)
LOCAL = WebhookConfig.model_validate({"url": {"require_https": False, "disable_loopback": False}})


class Receiver:
    """An HTTP server that keeps what it gets and answers with the given statuses, the last one again and again."""

    def __init__(self, *statuses: int, headers: dict[str, str] | None = None) -> None:
        self.requests: list[tuple[str, dict[str, str], Any]] = []
        self.bodies: list[bytes] = []
        self.reached = asyncio.Event()
        self.answer = asyncio.Event()
        self.answer.set()
        self._statuses = list(statuses) or [200]
        self._headers = headers

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        request = Request(scope, receive)
        self.bodies.append(await request.body())
        self.requests.append((request.url.path, dict(request.headers), json.loads(self.bodies[-1])))
        self.reached.set()
        await self.answer.wait()
        status = self._statuses.pop(0) if len(self._statuses) > 1 else self._statuses[0]
        response: Response = PlainTextResponse("", status_code=status, headers=self._headers)
        await response(scope, receive, send)


async def _lifespan(receive: Any, send: Any) -> None:
    while True:
        kind = (await receive())["type"]
        await send({"type": f"{kind}.complete"})
        if kind == "lifespan.shutdown":
            return


def ended(webhook: str | None, **fields: Any) -> Run:
    """A run as the executor has it at its end."""
    defaults: dict[str, Any] = {"run_id": "r", "thread_id": "t", "assistant_id": "a", "metadata": {"m": 1}}
    times = {"created_at": STARTED, "updated_at": STARTED}
    return Run(**{**defaults, **times, "status": "running", "kwargs": {"webhook": webhook}, **fields})


DONE = Outcome(status="success", thread_status="idle", values=b'{"answer":42}')


@contextlib.asynccontextmanager
async def records() -> AsyncIterator[SqliteStorage]:
    """A storage of its own."""
    with tempfile.TemporaryDirectory() as folder:
        storage = SqliteStorage(Path(folder) / "threadline.sqlite")
        await storage.open()
        yield storage
        await storage.close()


async def end(storage: SqliteStorage, webhooks: Webhooks, run: Run, outcome: Outcome) -> None:
    """Ends a run, as the executor does."""
    await storage.queue.enqueue(run, thread=make_thread(thread_id=run.thread_id))
    assert await storage.queue.claim("worker", 30) is not None
    kept = dataclasses.replace(outcome, delivery=webhooks.compose(run, outcome, STARTED))
    await storage.queue.finish(run.run_id, 1, kept, events=0)


async def settled(storage: SqliteStorage, *run_ids: str) -> list[Delivery]:
    """The calls of runs, once none is to be made any more."""
    async with asyncio.timeout(60):
        while True:
            found = [each for run_id in run_ids for each in await storage.outbox.of_run(run_id)]
            if all(each.status != "pending" for each in found):
                return found
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def delivering(storage: SqliteStorage, webhooks: Webhooks, **options: Any) -> AsyncIterator[None]:
    """Makes the calls of the outbox."""
    deliverer = Deliverer(storage.outbox, webhooks, **{"backoff": (0, 0), "grace": 30, **options})
    deliverer.start()
    yield
    await deliverer.stop()
    await webhooks.close()


async def deliver(
    url: str,
    *,
    config: WebhookConfig = LOCAL,
    outcome: Outcome = DONE,
    resolve: Any = None,
    cancel: Any = None,
    secrets: Sequence[bytes] = (),
    **options: Any,
) -> list[Delivery]:
    """Ends one run and waits until its webhook is done with; what came of it."""
    webhooks = Webhooks(config, resolve=resolve, secrets=secrets)
    async with records() as storage:
        await end(storage, webhooks, ended(url, cancel=cancel), outcome)
        async with delivering(storage, webhooks, **options):
            return await settled(storage, "r")


def resolving(*answers: Sequence[str]) -> Any:
    """Resolves every host to these addresses: the first answer at first, the last one from then on."""
    remaining = list(answers)

    async def resolve(host: str, port: int) -> Sequence[str]:
        return remaining.pop(0) if len(remaining) > 1 else remaining[0]

    return resolve


@contextlib.asynccontextmanager
async def receiving(receiver: Receiver) -> AsyncIterator[str]:
    async with serving(receiver) as url:
        yield url.replace("127.0.0.1", "localhost")


async def test_webhook_gets_the_run_and_its_values() -> None:
    receiver = Receiver()
    before = datetime.now(UTC)
    async with receiving(receiver) as url:
        await deliver(f"{url}/hook?token=1")

    [(path, headers, body)] = receiver.requests
    assert (path, headers["content-type"], headers["host"]) == ("/hook", "application/json", url.split("//")[1])
    times = [datetime.fromisoformat(body.pop(name)) for name in ("run_ended_at", "webhook_sent_at")]
    assert before <= times[0] <= times[1]
    assert body == {
        "run_id": "r",
        "thread_id": "t",
        "assistant_id": "a",
        "created_at": "2026-06-01T12:00:00+00:00",
        "updated_at": "2026-06-01T12:00:00+00:00",
        "metadata": {"m": 1},
        "status": "success",
        "kwargs": {
            "webhook": f"{url}/hook?token=1",
            "config": {
                "configurable": {"run_id": "r", "thread_id": "t", "graph_id": None, "assistant_id": "a"},
                "metadata": {},
            },
        },
        "multitask_strategy": "reject",
        "run_started_at": "2026-06-01T12:00:00+00:00",
        "values": {"answer": 42},
    }


@pytest.mark.parametrize(
    ("outcome", "cancel", "expected"),
    [
        (
            Outcome("error", "error", error='{"error":"KeyError","message":"m"}'),
            None,
            {"status": "error", "values": None, "error": {"error": "KeyError", "message": "m"}},
        ),
        (
            Outcome("interrupted", "idle", b"{}", error='{"error":"UserInterrupt","message":"m"}'),
            "interrupt",
            {"status": "interrupted", "values": {}, "error": {"error": "UserInterrupt", "message": "m"}},
        ),
        (
            Outcome("interrupted", "idle", b'{"n":1}', error='{"error":"UserInterrupt","message":"m"}'),
            "rollback",
            {"status": "rollback", "values": None, "error": {"error": "UserInterrupt", "message": "m"}},
        ),
    ],
)
async def test_webhook_tells_how_the_run_ended(outcome: Outcome, cancel: Any, expected: Any) -> None:
    receiver = Receiver()
    async with receiving(receiver) as url:
        await deliver(url, outcome=outcome, cancel=cancel)

    [(_, _, body)] = receiver.requests
    assert {name: body[name] for name in expected} == expected


async def test_run_without_a_webhook_calls_none() -> None:
    webhooks = Webhooks(LOCAL, resolve=resolving())
    assert webhooks.compose(ended(None), DONE, STARTED) is None
    assert webhooks.compose(Run("r", "t", "a", STARTED, STARTED), DONE, STARTED) is None


@pytest.mark.parametrize(
    ("statuses", "calls"),
    [
        ((200,), 1),
        ((204,), 1),
        ((503, 200), 2),
        ((429, 500, 200), 3),
        ((500,), 3),
        ((400,), 1),
        ((404, 200), 1),
        ((307,), 1),
    ],
)
async def test_what_may_pass_is_tried_again_a_few_times(
    statuses: Any, calls: int, caplog: pytest.LogCaptureFixture
) -> None:
    receiver = Receiver(*statuses, headers={"location": "/target"})
    async with receiving(receiver) as url:
        [delivery] = await deliver(f"{url}/hook")

    assert [path for path, _, _ in receiver.requests] == ["/hook"] * calls
    assert {headers["webhook-id"] for _, headers, _ in receiver.requests} == {delivery.delivery_id}
    accepted = statuses[-1] < 300 and calls == len(statuses)
    assert (delivery.status, delivery.attempts) == ("delivered" if accepted else "failed", calls)
    assert (delivery.problem is None) == accepted
    assert ("was not accepted" in caplog.text) == (not accepted)


async def test_connection_that_fails_is_tried_at_the_next_address() -> None:
    receiver = Receiver()
    async with serving(receiver) as url:
        await deliver(url.replace("127.0.0.1", "hooks.test"), resolve=resolving(["127.0.0.2", "127.0.0.1"]))

    assert len(receiver.requests) == 1


async def test_request_goes_to_the_address_that_was_checked() -> None:
    receiver = Receiver()
    async with serving(receiver) as url:
        port = url.rpartition(":")[2]
        await deliver(f"http://hooks.test:{port}/hook", resolve=resolving(["127.0.0.1"]))

    [(path, headers, _)] = receiver.requests
    assert (path, headers["host"]) == ("/hook", f"hooks.test:{port}")


async def test_name_that_changes_its_address_is_refused_at_the_request() -> None:
    receiver = Receiver()
    async with serving(receiver) as url:
        target = url.replace("127.0.0.1", "hooks.test")
        resolve = resolving(["93.184.215.14"], ["127.0.0.1"])
        await Webhooks(WebhookConfig(), resolve=resolve).validate(target)
        [delivery] = await deliver(target, config=WebhookConfig(), resolve=resolve)

    assert receiver.requests == []
    assert (delivery.status, delivery.problem) == ("failed", "Webhook host blocked: loopback IP range")


async def test_tls_is_for_the_name_not_the_address() -> None:
    hello = asyncio.get_running_loop().create_future()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not hello.done():
            hello.set_result(await reader.read(4096))
        writer.close()

    async with await asyncio.start_server(accept, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        await deliver(f"https://hooks.test:{port}/", resolve=resolving(["127.0.0.1"]), backoff=())

    assert b"hooks.test" in await hello


async def test_call_that_the_end_cuts_is_made_at_the_next_start() -> None:
    receiver = Receiver()
    receiver.answer.clear()
    async with receiving(receiver) as url, records() as storage:
        webhooks = Webhooks(LOCAL)
        await end(storage, webhooks, ended(url), DONE)
        async with delivering(storage, webhooks, grace=0):
            await receiver.reached.wait()
        assert [each.status for each in await storage.outbox.of_run("r")] == ["pending"]
        receiver.answer.set()
        async with delivering(storage, Webhooks(LOCAL)):
            await settled(storage, "r")

    assert len(receiver.requests) == 2
    assert len({headers["webhook-id"] for _, headers, _ in receiver.requests}) == 1


async def test_call_of_a_process_that_dies_is_made_by_another() -> None:
    receiver = Receiver()
    async with receiving(receiver) as url, records() as storage:
        other = SqliteStorage(storage.database._path)
        await other.open()
        webhooks = Webhooks(LOCAL)
        await end(storage, webhooks, ended(url), DONE)
        assert await other.outbox.take(3600) is not None
        async with delivering(storage, webhooks):
            assert await storage.outbox.take(3600) is None
            other._neighbours.close()  # as the kernel does
            storage._died()
            [delivery] = await settled(storage, "r")
        await other.close()

    assert (len(receiver.requests), delivery.attempts) == (1, 2)


async def test_host_that_has_no_address_for_a_while_is_tried_again() -> None:
    receiver = Receiver()
    async with receiving(receiver) as url:
        [delivery] = await deliver(url, resolve=resolving([], ["127.0.0.1"]))
    assert (delivery.status, delivery.attempts) == ("delivered", 2)


async def test_calls_are_signed() -> None:
    receiver = Receiver()
    secrets = signing_secrets(
        f"whsec_{base64.b64encode(bytes(24)).decode()}, whsec_{base64.b64encode(b'2' * 32).decode()}"
    )
    async with receiving(receiver) as url:
        await deliver(url, secrets=secrets)

    [(_, headers, _)] = receiver.requests
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + receiver.bodies[0]
    expected = [base64.b64encode(hmac.digest(secret, signed, "sha256")).decode() for secret in secrets]
    assert headers["webhook-signature"] == " ".join(f"v1,{each}" for each in expected)
    assert abs(int(headers["webhook-timestamp"]) - datetime.now(UTC).timestamp()) < 600


@pytest.mark.parametrize(
    "secret", ["secret", "whsec_", "whsec_!!", "whsec_c2hvcnQ=", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]
)
def test_secret_that_is_none_is_refused(secret: str) -> None:
    with pytest.raises(ConfigError, match="THREADLINE_WEBHOOK_SECRET"):
        signing_secrets(secret)


async def test_what_is_done_with_is_sent_again_when_asked_and_goes_with_time() -> None:
    receiver = Receiver(400, 200)
    async with receiving(receiver) as url, records() as storage:
        webhooks = Webhooks(LOCAL)
        await end(storage, webhooks, ended(url), DONE)
        async with delivering(storage, webhooks):
            [delivery] = await settled(storage, "r")
            assert delivery.status == "failed"
            assert not await storage.outbox.again("another", delivery.delivery_id)
            assert await storage.outbox.again("r", delivery.delivery_id)
            [delivery] = await settled(storage, "r")
            assert (delivery.status, delivery.attempts) == ("delivered", 1)
        assert await storage.outbox.delete_done(STARTED) == 0
        assert await storage.outbox.delete_done(datetime.now(UTC)) == 1
        assert await storage.outbox.of_run("r") == []


async def test_headers_and_fields_are_those_of_the_config() -> None:
    config = WebhookConfig.model_validate(
        {
            "url": {"require_https": False, "allowed_domains": ["localhost"]},
            "headers": {"authorization": "Bearer x", "Content-Type": "application/cloudevents+json"},
            "allowed_fields": ["run_id", "status"],
        }
    )
    receiver = Receiver()
    async with receiving(receiver) as url:
        await deliver(url, config=config)

    [(_, headers, body)] = receiver.requests
    assert body == {"run_id": "r", "status": "success"}
    assert (headers["authorization"], headers["content-type"]) == ("Bearer x", "application/cloudevents+json")


async def test_disabled_webhooks_are_not_called() -> None:
    receiver = Receiver()
    async with receiving(receiver) as url:
        await deliver(url, config=LOCAL.model_copy(update={"disabled": True}))

    assert receiver.requests == []


def _rules(**url: Any) -> WebhookConfig:
    return WebhookConfig.model_validate({"url": {"require_https": False, **url}})


PUBLIC = ["93.184.215.14"]


@pytest.mark.parametrize(
    ("url", "rules", "addresses"),
    [
        ("http://hooks.test/x", {}, PUBLIC),
        ("https://hooks.test:8443/x?y#z", {"require_https": True}, PUBLIC),
        ("http://hooks.test/", {"allowed_domains": ["Hooks.test "]}, PUBLIC),
        ("http://a.hooks.test/", {"allowed_domains": ["*.hooks.test"]}, PUBLIC),
        ("http://hooks.test/", {"allowed_ports": [80]}, PUBLIC),
        ("https://hooks.test/", {"allowed_ports": [443]}, PUBLIC),
        ("http://localhost:1/", {"disable_loopback": False}, ["127.0.0.1", "::1"]),
        ("http://host.docker.internal/", {"disable_loopback": False}, ["172.17.0.1"]),
        ("http://hooks.test/", {"disable_private_ips": False}, ["10.1.2.3", "fd00::1", "100.64.0.1"]),
        ("http://internal.hooks.test/", {"allowed_domains": ["internal.hooks.test"]}, ["10.1.2.3"]),
        ("http://hooks.test/", {}, ["2606:2800:21f:cb07:6820:80da:af6b:8b2c"]),
    ],
)
async def test_url_is_accepted(url: str, rules: Any, addresses: list[str]) -> None:
    asked: list[tuple[str, int]] = []

    async def resolve(host: str, port: int) -> Sequence[str]:
        asked.append((host, port))
        return addresses

    await Webhooks(_rules(**rules), resolve=resolve).validate(url)

    assert len(asked) == 1


@pytest.mark.parametrize(
    ("url", "rules", "complaint"),
    [
        ("http://hooks.test/" + "x" * 3000, {}, "Webhook URL too long"),
        ("http://hooks.test/", {"require_https": True}, "Webhook must use https"),
        ("http://hooks.test:8080/", {"allowed_ports": [80]}, "Webhook port 8080 not allowed"),
        ("http://hooks.test:99999/", {}, "Webhook port 99999 not allowed"),
        ("nonsense", {}, "Invalid webhook hostname ''"),
        ("http:///x", {}, "Invalid webhook hostname ''"),
        ("http://[::1/", {}, "Invalid webhook URL: "),
        ("http://hooks.test\n/", {}, "Invalid webhook URL: "),
        ("ftp://hooks.test/", {}, "Webhook host blocked: scheme 'ftp' not allowed"),
        ("file://hooks.test/etc/passwd", {}, "Webhook host blocked: scheme 'file' not allowed"),
        ("http://hooks.test/", {"allowed_domains": ["other.test"]}, "Webhook domain not allowed"),
        ("http://hooks.test/", {"allowed_domains": ["*.hooks.test"]}, "Webhook domain not allowed"),
        ("http://evilhooks.test/", {"allowed_domains": ["*.hooks.test"]}, "Webhook domain not allowed"),
        ("http://other.test@hooks.test/", {"allowed_domains": ["other.test"]}, "Webhook domain not allowed"),
        ("http://LOCALHOST:1/", {}, "Webhook host blocked: localhost address"),
        ("http://metadata.google.internal/", {}, "Webhook host blocked: cloud metadata endpoint"),
        ("http://x.svc.cluster.local/", {}, "Webhook host blocked: Kubernetes internal DNS"),
        ("/internal", {}, "Loopback webhooks (relative URLs and localhost) are disabled by default. "),
    ],
)
async def test_url_is_refused(url: str, rules: Any, complaint: str) -> None:
    with pytest.raises(InvalidRequestError) as error:
        await Webhooks(_rules(**rules), resolve=resolving(PUBLIC)).validate(url)
    assert error.value.message.startswith(complaint)
    assert error.value.field == "webhook"


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("127.0.0.1", "loopback IP range"),
        ("127.9.9.9", "loopback IP range"),
        ("::1", "loopback IP range"),
        ("10.0.0.1", "private IP range"),
        ("172.31.255.255", "private IP range"),
        ("192.168.0.1", "private IP range"),
        ("100.64.0.1", "private IP range"),
        ("fd00::1", "private IP range"),
        ("100.100.100.200", "private IP range"),
        ("169.254.169.254", "blocked IP range"),
        ("169.254.1.1", "blocked IP range"),
        ("fe80::1", "blocked IP range"),
        ("fe80::1%eth0", "blocked IP range"),
        ("0.0.0.0", "blocked IP range"),
        ("::", "blocked IP range"),
        ("224.0.0.1", "blocked IP range"),
        ("ff02::1", "blocked IP range"),
        ("240.0.0.1", "blocked IP range"),
        ("255.255.255.255", "blocked IP range"),
        ("192.0.0.8", "blocked IP range"),
        ("192.0.2.1", "blocked IP range"),
        ("198.18.0.1", "blocked IP range"),
        ("::ffff:127.0.0.1", "blocked IP range"),
        ("::ffff:93.184.215.14", "blocked IP range"),
        ("::127.0.0.1", "blocked IP range"),
        ("64:ff9b::7f00:1", "blocked IP range"),
        ("2002:7f00:1::", "blocked IP range"),
        ("::ffff:0:127.0.0.1", "blocked IP range"),
        ("192.88.99.1", "blocked IP range"),
        ("5f00::1", "blocked IP range"),
        ("2001:0:1::1", "blocked IP range"),
        ("fec0::1", "blocked IP range"),
    ],
)
async def test_address_that_is_not_public_is_refused(address: str, reason: str) -> None:
    webhooks = Webhooks(WebhookConfig(), resolve=resolving([*PUBLIC, address]))
    with pytest.raises(InvalidRequestError, match=f"^Webhook host blocked: {reason}$"):
        await webhooks.validate("http://hooks.test/")


@pytest.mark.parametrize("address", ["100.100.100.200", "fd00:ec2::254"])
async def test_metadata_is_refused_where_private_addresses_are_allowed(address: str) -> None:
    webhooks = Webhooks(_rules(disable_private_ips=False), resolve=resolving([address]))
    with pytest.raises(InvalidRequestError, match=r"^Webhook host blocked: cloud metadata endpoint$"):
        await webhooks.validate("http://hooks.test/")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1", "2130706433", "0x7f000001", "[::1]", "0", "[::ffff:7f00:1]"])
async def test_no_spelling_of_a_local_address_passes(host: str) -> None:
    with pytest.raises(InvalidRequestError, match=r"^Webhook host blocked: (loopback|blocked) IP range$"):
        await Webhooks(WebhookConfig()).validate(f"http://{host}:8123/")


async def test_wildcard_names_hosts_but_no_private_addresses() -> None:
    rules = _rules(allowed_domains=["*.hooks.test"])
    with pytest.raises(InvalidRequestError, match="private IP range"):
        await Webhooks(rules, resolve=resolving(["10.0.0.1"])).validate("http://a.hooks.test/")


async def test_host_without_an_address_is_refused() -> None:
    async def nothing(host: str, port: int) -> Sequence[str]:
        raise OSError("no such host")

    for resolve in (nothing, resolving([])):
        with pytest.raises(InvalidRequestError, match="DNS resolution failed"):
            await Webhooks(WebhookConfig(), resolve=resolve).validate("http://hooks.test/")


async def test_relative_url_is_not_supported_where_it_is_allowed() -> None:
    with pytest.raises(ThreadlineError) as error:
        await Webhooks(_rules(disable_loopback=False)).validate("/internal")
    assert error.value.status == 501


@given(url=st.one_of(st.text(), st.text().map("http://".__add__), st.from_regex(r"https?://[^/]{1,20}(:\d+)?/.*")))
def test_any_url_is_accepted_or_refused(url: str) -> None:
    try:
        target = WebhookConfig().url.check(url)
    except InvalidRequestError:
        return
    assert target.scheme in ("http", "https")
    assert target.host


def _file(folder: Path, **sections: Any) -> Path:
    path = folder / "langgraph.json"
    path.write_text(json.dumps({"graphs": {"a": "b:c"}, **sections}))
    return path


def test_defaults_without_a_section(tmp_path: Path) -> None:
    config = load_webhook_config(_file(tmp_path))
    assert config == WebhookConfig()
    assert (config.url.require_https, config.url.max_url_length, config.url.disable_loopback) == (False, 4096, True)
    assert load_webhook_config(_file(tmp_path, webhooks={"url": {}, "allowed_fields": None})) == config


def test_defaults_of_a_section_are_stricter(tmp_path: Path) -> None:
    config = load_webhook_config(_file(tmp_path, webhooks={"url": {"allowed_ports": [443]}}))
    assert (config.url.require_https, config.url.max_url_length) == (True, 2048)


def test_section_may_come_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANGGRAPH_WEBHOOKS", '{"url": {"allowed_ports": [443]}}')
    assert load_webhook_config(_file(tmp_path)).url.allowed_ports == [443]
    assert load_webhook_config(_file(tmp_path, webhooks={"headers": {"a": "b"}})).url.allowed_ports == []


def test_headers_are_filled_in_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LG_WEBHOOK_TOKEN", "secret")
    monkeypatch.setenv("HOOK_A", "a")
    headers = {"Authorization": "Bearer ${{ env.LG_WEBHOOK_TOKEN }}", "X-Plain": "{{ env.HOOK_A }}"}
    url = {"allowed_domains": ["hooks.example.com"]}
    config = load_webhook_config(_file(tmp_path, webhooks={"url": url, "headers": headers}))
    assert config.headers == {"Authorization": "Bearer secret", "X-Plain": "{{ env.HOOK_A }}"}
    section = {"env_prefix": "HOOK_", "url": url, "headers": {"X": "${{env.HOOK_A}}-${{ env.HOOK_A }}"}}
    assert load_webhook_config(_file(tmp_path, webhooks=section)).headers == {"X": "a-a"}


def test_http_section_disables_webhooks(tmp_path: Path) -> None:
    assert load_webhook_config(_file(tmp_path, http={"disable_webhooks": True})).disabled


@pytest.mark.parametrize(
    ("section", "told"),
    [
        (["headers"], "are objects"),
        ({"unknown": 1}, "webhooks.unknown"),
        ({"url": {"unknown": 1}}, "webhooks.url.unknown"),
        ({"url": {"allowed_domains": ["a.*.test"]}}, "webhooks.url.allowed_domains.0"),
        ({"url": {"allowed_domains": [""]}}, "webhooks.url.allowed_domains.0"),
        ({"allowed_fields": ["secrets"]}, "webhooks.allowed_fields"),
        ({"headers": {"X": 1}}, "webhooks.headers.X"),
        ({"headers": {"Authorization": "Bearer x"}}, "name in url.allowed_domains"),
        ({"headers": {"x-hook-token": "x"}, "url": {"allowed_ports": [443]}}, "name in url.allowed_domains"),
        ({"headers": {"X": "${{ env.LG_WEBHOOK_SET }}"}}, "name in url.allowed_domains"),
        ({"headers": {"X": "${{ env.HOME }}"}}, "HOME does not begin with LG_WEBHOOK_"),
        ({"headers": {"X": "${{ env.LG_WEBHOOK_ABSENT }}"}}, "LG_WEBHOOK_ABSENT is not set"),
        ({"headers": {"X": "${{ secrets.TOKEN }}"}}, "is not a reference like"),
        ({"headers": {"X": "${{ env.LG_WEBHOOK_A.B }}"}}, "is not a reference like"),
    ],
)
def test_section_that_does_not_fit_stops_the_start(
    tmp_path: Path, section: Any, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LG_WEBHOOK_SET", "s")
    with pytest.raises(ConfigError) as error:
        load_webhook_config(_file(tmp_path, webhooks=section))
    assert told in error.value.message


def test_environment_that_is_not_json_stops_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANGGRAPH_WEBHOOKS", "{")
    with pytest.raises(ConfigError, match="LANGGRAPH_WEBHOOKS is not JSON"):
        load_webhook_config(_file(tmp_path))


async def test_many_at_one_time_all_arrive() -> None:
    receiver = Receiver()
    runs = [str(n) for n in range(100)]
    async with receiving(receiver) as url, records() as storage:
        webhooks = Webhooks(LOCAL)
        async with delivering(storage, webhooks):
            for run_id in runs:
                await end(storage, webhooks, ended(url, run_id=run_id, thread_id=run_id), DONE)
            assert {each.status for each in await settled(storage, *runs)} == {"delivered"}

    assert sorted(body["run_id"] for _, _, body in receiver.requests) == sorted(runs)


@pytest.fixture
def hooked(tmp_path: Path) -> Path:
    """A langgraph.json whose runs may call this machine."""
    rules = {"url": {"require_https": False, "disable_loopback": False}}
    config = tmp_path / "langgraph.json"
    config.write_text(json.dumps({"graphs": {"chat": "tests.api.graphs:chat"}, "webhooks": rules}))
    return config


async def test_calls_of_a_run_are_listed_and_made_again_for_whose_run_it_is(hooked: Path) -> None:
    receiver = Receiver(400, 200)
    app = create_app(Settings(config=hooked, api_keys=SecretStr("alice:a-key,bob:b-key")))
    async with serving(receiver) as hook, serving(app) as url, httpx.AsyncClient(base_url=url) as client:
        alice, bob = {"x-api-key": "a-key"}, {"x-api-key": "b-key"}
        thread = (await client.post("/threads", json={}, headers=alice)).json()["thread_id"]
        body = {"assistant_id": "chat", "input": {"messages": "hi"}, "webhook": f"{hook}/done"}
        run = (await client.post(f"/threads/{thread}/runs", json=body, headers=alice)).json()["run_id"]
        path = f"/threads/{thread}/runs/{run}/webhooks"

        async def seen(status: str) -> Any:
            async with asyncio.timeout(30):
                while True:
                    found = (await client.get(path, headers=alice)).json()
                    if found and found[0]["status"] == status:
                        return found

        [failed] = await seen("failed")
        assert (failed["attempts"], failed["problem"], failed["next_attempt_at"]) == (1, "it answered 400", None)
        again = f"{path}/{failed['webhook_id']}/send"
        assert (await client.get(path, headers=bob)).status_code == 404
        assert (await client.post(again, headers=bob)).status_code == 404
        assert (await client.post(f"{path}/msg_none/send", headers=alice)).status_code == 404
        assert (await client.post(again, headers=alice)).status_code == 202
        assert (await seen("delivered"))[0]["webhook_id"] == failed["webhook_id"]
        bodies = [body for _, _, body in receiver.requests]
        assert [{**body, "webhook_sent_at": ""} for body in bodies[1:]] == [{**bodies[0], "webhook_sent_at": ""}]
        assert (await client.delete(f"/threads/{thread}", headers=alice)).status_code == 204
        outbox = app.state.threadline.storage.outbox
        assert await outbox.of_run(run) == []


async def test_a_run_calls_its_webhook_at_its_end(hooked: Path) -> None:
    receiver = Receiver()
    async with serving(receiver) as hook, serving(create_app(Settings(config=hooked))) as url:
        async with httpx.AsyncClient(base_url=url) as client:
            body = {"assistant_id": "chat", "input": {"messages": "hi"}, "webhook": f"{hook}/done"}
            await client.post("/runs/wait", json=body)
        await asyncio.wait_for(receiver.reached.wait(), 10)
    ((path, _, payload),) = receiver.requests
    assert path == "/done"
    assert payload["status"] == "success"
    assert payload["values"]["messages"][-1]["content"] == "Hello, this is turn 1."


async def test_command_lists_calls_of_stateless_runs_and_has_them_made_again(
    hooked: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    receiver = Receiver(400, 200)
    app = create_app(Settings(config=hooked))
    async with serving(receiver) as hook, serving(app) as url, httpx.AsyncClient(base_url=url) as client:
        body = {"assistant_id": "chat", "input": {"messages": "hi"}, "webhook": f"{hook}/done"}
        run = (await client.post("/runs", json=body)).json()["run_id"]
        await until_told(app, run, "failed")
        await asyncio.to_thread(list_webhooks, hooked, "failed", 10, send=True)
        await until_told(app, run, "delivered")
        await asyncio.to_thread(list_webhooks, hooked, None, 10, send=False)
    first, sent, second = capsys.readouterr().out.splitlines()
    assert all(part in first for part in (run, "failed", "1 attempt ", "it answered 400"))
    assert sent == "1 to be sent again."
    assert all(part in second for part in (run, "delivered"))
    assert len(receiver.requests) == 2


async def until_told(app: Any, run_id: str, status: str) -> None:
    """Returns when the call of a run is of a status."""
    outbox = app.state.threadline.storage.outbox
    async with asyncio.timeout(30):
        while [each.status for each in await outbox.of_run(run_id)] != [status]:
            pass


async def test_a_forbidden_webhook_is_refused_with_the_run(client: Client) -> None:
    body = {"assistant_id": "chat", "input": {"messages": "hi"}, "webhook": "http://127.0.0.1:9/"}
    response = await client.post("/runs", json=body)
    assert response.status_code == 422, response.text


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
async def test_no_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """It would look the name up by itself, and so undo the check."""
    receiver, proxy = Receiver(), Receiver()
    async with receiving(receiver) as url, serving(proxy) as proxy_url:
        monkeypatch.setenv(name, proxy_url)
        monkeypatch.setenv("NO_PROXY", "")
        await deliver(f"{url}/hook")

    assert len(receiver.requests) == 1
    assert proxy.requests == []


async def test_redirect_to_a_private_address_is_not_followed() -> None:
    private = Receiver()
    async with serving(private) as private_url:
        receiver = Receiver(302, headers={"location": f"{private_url}/secret"})
        async with receiving(receiver) as url:
            await deliver(f"{url}/hook")

    assert len(receiver.requests) == 1
    assert private.requests == []


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.example@127.0.0.1/",
        "http://hooks.example:80@127.0.0.1:8123/",
        "http://127.0.0.1#@hooks.example/",
        "http://127.0.0.1\\@hooks.example/",
        "http://0177.0.0.1/",
        "http://0x7f.1/",
        "http://①②⑦.⓪.⓪.①/",
        "http://[::ffff:127.0.0.1]/",
        "http://[64:ff9b::7f00:1]/",
        "http://[::ffff:0:127.0.0.1]/",
        "http://192.88.99.1/",
    ],
)
async def test_no_trick_with_the_url_reaches_this_machine(url: str) -> None:
    with pytest.raises(InvalidRequestError):
        await Webhooks(WebhookConfig()).validate(url)
