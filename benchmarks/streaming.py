"""Streams of a 200-token answer: how soon they begin, how fast they go, what a token costs.

Rounds alternate between the two servers, so that whatever else the machine does meets both.
"""

import statistics
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from benchmarks import processes, scripted
from benchmarks.figures import Figure, percentile
from benchmarks.load import Exchange, LoadError, Round, answer_text, closed_loop, payloads, request
from benchmarks.processes import Server

_CLIENTS = (1, 16, 64)
_SATURATED = 16
_LONG_CLIENTS = 4
_FLOOR_SECONDS = 60.0
_MORE_MILLISECONDS = 10
_SHARE = 0.8


@dataclass(slots=True)
class _Measured:
    """All rounds of one kind at one server."""

    rounds: list[Round] = field(default_factory=list)
    cpu_seconds: float = 0.0

    @property
    def exchanges(self) -> list[Exchange]:
        return [exchange for each in self.rounds for exchange in each.exchanges]

    @property
    def runs_per_second(self) -> float:
        return statistics.median(each.per_second for each in self.rounds)

    def cpu_micros(self, tokens: int) -> float:
        """CPU time of the server for each token of runs of so many."""
        return 1e6 * self.cpu_seconds / (len(self.exchanges) * tokens)

    def milliseconds(self, moment: str, percent: float) -> float:
        """From the request to a moment of the exchange."""
        return 1e3 * percentile([getattr(each, moment) - each.sent_at for each in self.exchanges], percent)


async def measure(folder: Path, *, quick: bool) -> list[Figure]:
    """Figures of streams.

    Args:
        folder: for what the service stores.
        quick: fewer rounds and runs.
    """
    config = scripted.write_config(folder)
    seconds = (1.0,) if quick else (4.0, 4.0, 4.0)
    async with processes.all_running(processes.service(config), processes.bare()) as servers:
        await rounds(servers, "answer", scripted.ANSWER_TOKENS, 4, (0.5,))
        short = {
            clients: await rounds(servers, "answer", scripted.ANSWER_TOKENS, clients, seconds) for clients in _CLIENTS
        }
        long = await rounds(servers, "long", scripted.LONG_TOKENS, _LONG_CLIENTS, seconds)
    return [
        *_beginnings(short[1]),
        *_rates(short),
        *_tokens(short[_SATURATED], long),
        *await _floors(folder, short[_SATURATED], runs=20 if quick else 120),
        *_bytes(short[1]),
    ]


Pair = tuple[_Measured, _Measured]


async def rounds(servers: Sequence[Server], graph: str, tokens: int, clients: int, rounds: Sequence[float]) -> Pair:
    """Rounds of so many seconds each, at one server and at the other."""
    data = request("POST", f"/agents/{graph}/stream", {"input": "What is kept?"}, accept="text/event-stream")
    pair = (_Measured(), _Measured())
    for seconds in rounds:
        for server, measured in zip(servers, pair, strict=True):
            before = server.cpu_seconds()
            done = await closed_loop(server.port, data, clients=clients, seconds=seconds, mark=scripted.FIRST_TOKEN)
            measured.cpu_seconds += server.cpu_seconds() - before
            measured.rounds.append(done)
            _check(done, tokens)
    return pair


def _check(done: Round, tokens: int) -> None:
    expected = "".join(scripted.answer_tokens(tokens))
    for exchange in done.exchanges:
        if answer_text(exchange.body()) != expected:
            raise LoadError("a stream's tokens are not the answer")


def _beginnings(pair: Pair) -> Iterator[Figure]:
    ours, bare = pair
    for name, moment in (("first event", "first_at"), ("first token", "marked_at")):
        of = f"time to {name}, 1 client"
        p50, p99 = ((ours.milliseconds(moment, each), bare.milliseconds(moment, each)) for each in (50, 99))
        yield Figure.at_most_more(f"{of}, p50", "ms", *p50, _MORE_MILLISECONDS)
        yield Figure(f"{of}, p99", "ms", *p99)


def _rates(short: dict[int, Pair]) -> Iterator[Figure]:
    for clients, (ours, bare) in short.items():
        name = f"runs, {clients} client{'s' if clients > 1 else ''}"
        yield Figure.at_least(name, "1/s", ours.runs_per_second, bare.runs_per_second, _SHARE)


def _tokens(short: Pair, long: Pair) -> Iterator[Figure]:
    for clients, tokens, (ours, bare) in (
        (_SATURATED, scripted.ANSWER_TOKENS, short),
        (_LONG_CLIENTS, scripted.LONG_TOKENS, long),
    ):
        of = f"answers of {tokens:,}, {clients} clients"
        yield Figure.at_least(
            f"tokens, {of}", "1/s", ours.runs_per_second * tokens, bare.runs_per_second * tokens, _SHARE
        )
        yield Figure(f"CPU a token, {of}", "us", ours.cpu_micros(tokens), bare.cpu_micros(tokens))


async def _floors(folder: Path, short: Pair, *, runs: int) -> list[Figure]:
    """What the same tokens cost in process: the ratio is that of the service to the floor."""
    ours = short[0].cpu_micros(scripted.ANSWER_TOKENS)
    command = [sys.executable, "-m", "benchmarks.floor", str(runs), str(folder / "floor.sqlite")]
    floors = orjson.loads(await processes.output_of(command, {}, _FLOOR_SECONDS))
    figures = []
    for name, kind in (("graph.astream", "bare"), ("graph.astream and checkpoints", "checkpointed")):
        if floors[kind]["tokens"] != runs * scripted.ANSWER_TOKENS:
            raise LoadError("the floor did not stream every token")
        micros = 1e6 * floors[kind]["cpu"] / floors[kind]["tokens"]
        figures.append(Figure(f"CPU a token, in place of bare: {name}, no HTTP", "us", ours, micros))
    return figures


def _bytes(pair: Pair) -> Iterator[Figure]:
    ours, bare = (statistics.mean(each.wire_bytes for each in measured.exchanges) for measured in pair)
    body = pair[0].exchanges[0].body()
    frames = sum(
        len(frame) + 2 for frame in body.split(b"\n\n") if b'{"text":' in frame and frame.startswith(b"event: token")
    )
    tokens = sum(name == "token" for name, _ in payloads(body))
    per_token = scripted.ANSWER_TOKENS
    yield Figure.at_most("bytes on the wire a token, whole stream", "B", ours / per_token, 60, bare / per_token)
    yield Figure("bytes of a token's frame", "B", frames / tokens)
