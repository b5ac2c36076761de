"""The faults: what is done to real servers while clients use them, and how often it did harm.

Every choice comes from a seed: the orders, and when the fault strikes (what it strikes is up to the machine).
"""

import asyncio
import contextlib
import random
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from api.storage.sqlite.files import FILES
from tests.faults.checks import Expected, Verdict, check
from tests.faults.clients import PATIENCE_SECONDS, WIRES, Client
from tests.faults.clock import MISSING, library
from tests.faults.graphs import Order
from tests.faults.promises import Promises, Receiver
from tests.faults.server import Project, Server
from tests.serving import serving

_SUSPENDED_SECONDS = 3.0
FAILED = frozenset({"success", "error"})


@dataclass
class Scene:
    """A round: servers, clients, and what the dice say.

    Args:
        servers: that clients know, first those that they ask first.
        chance: the dice.
    """

    project: Project
    servers: list[Server]
    chance: random.Random
    name: str = ""
    """Of the round: what it makes is called so."""
    under_way: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a client has an event of a run."""
    clients: list[asyncio.Task[None]] = field(default_factory=list)
    promises: Promises = field(default_factory=Promises)
    receiver: Receiver | None = None
    """Takes the calls of webhooks."""

    async def moment(self, seconds: float = 1.0) -> None:
        """Waits a random time: most often until runs are under way, and some while within what they take."""
        if self.chance.random() < 0.8:
            await self.under_way.wait()
        await asyncio.sleep(self.chance.uniform(0, seconds))


Strike = Callable[[Scene], Awaitable[None]]


@dataclass(frozen=True)
class Fault:
    """A kind of fault.

    Args:
        name: of the table's row.
        strike: does it; when it returns, a server answers or is about to.
        servers: that share the data.
        settings: of the servers.
        orders: what single clients' runs do besides, one each.
        endings: how runs may end.
        codes: of their errors.
        reruns: whether the fault may cost an attempt.
        cut_every: frames after which clients cut their connections.
        cancels: whether clients cancel.
        size: of the disk in bytes; 0 for one that is not full.
        clock: whether it sets the clock.
        harmful: orders whose runs may end so; all, if none is named.
        descriptors: that a server may have open; 0 for any number.
        environment: of the servers, besides.
        patience: of the clients, in seconds.
    """

    name: str
    strike: Strike
    servers: int = 1
    settings: dict[str, object] = field(default_factory=dict)
    orders: Sequence[str] = ("", "interrupt")
    endings: frozenset[str] = frozenset({"success"})
    codes: frozenset[str] = frozenset()
    reruns: bool = True
    cut_every: int = 0
    cancels: bool = False
    size: int = 0
    clock: bool = False
    harmful: frozenset[str] = frozenset()
    descriptors: int = 0
    environment: dict[str, str] = field(default_factory=dict)
    patience: float = PATIENCE_SECONDS


@dataclass
class Outcome:
    """What came of all rounds of a fault."""

    name: str
    rounds: int = 0
    runs: int = 0
    cuts: int = 0
    """Attempts of runs that were cut short and taken up again."""
    verdict: Verdict = field(default_factory=Verdict)
    recovered: list[float] = field(default_factory=list)
    """Seconds from the last event before the fault to the next one, the longest of each round."""
    skipped: str = ""


async def _kill(scene: Scene) -> None:
    await scene.moment()
    await scene.servers[0].kill()
    await scene.servers[0].start()


async def _terminate(scene: Scene) -> None:
    await scene.moment()
    await scene.servers[0].terminate()
    await scene.servers[0].start()


async def _kill_while_starting(scene: Scene) -> None:
    await scene.moment()
    await scene.servers[0].kill()
    await scene.servers[0].launch()
    await scene.moment(4)
    await scene.servers[0].kill()
    await scene.servers[0].start()


async def _kill_one_of_two(scene: Scene) -> None:
    await scene.moment()
    await scene.servers[0].kill()
    # The other one goes on with all of them; this one is back for the next round.
    await asyncio.sleep(1)
    await scene.servers[0].start()


async def _suspend(scene: Scene) -> None:
    await scene.moment()
    scene.servers[0].send(signal.SIGSTOP)
    await asyncio.sleep(_SUSPENDED_SECONDS)
    scene.servers[0].send(signal.SIGCONT)


async def _fill_disk(scene: Scene) -> None:
    await scene.moment()
    ballast = scene.project.folder / "ballast"
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    await asyncio.sleep(scene.chance.uniform(0.5, 2))
    ballast.unlink()


async def _fail_writes(scene: Scene) -> None:
    await scene.moment()
    scene.servers[0].limit_files(0)
    await asyncio.sleep(scene.chance.uniform(0.5, 2))
    scene.servers[0].limit_files(-1)


async def _set_clock_back(scene: Scene) -> None:
    await _set_clock(scene, -scene.chance.choice([1, 45, 3600, 86400]))


async def _set_clock_forward(scene: Scene) -> None:
    """And back to where it was in the next round but one, on average."""
    ahead = scene.chance.choice([45, 3600, 86400, 30 * 86400])
    behind = scene.project.clock and scene.chance.random() < 0.5
    await _set_clock(scene, -scene.project.clock if behind else ahead)


async def _set_clock(scene: Scene, seconds: float) -> None:
    await scene.moment()
    await (scene.servers[0].kill if scene.chance.random() < 0.5 else scene.servers[0].terminate)()
    scene.project.clock += seconds
    await scene.servers[0].start()


async def _die_with_runs_to_come(scene: Scene) -> None:
    """What only this process knows of is the other one's."""
    dying, other = scene.servers
    for number in range(4):
        await scene.promises.later(dying.url, f"{scene.name}-later-{number}", scene.chance.randint(1, 4))
        await scene.promises.scheduled(dying.url, f"{scene.name}-cron-{number}", scene.chance.uniform(2, 5))
    await asyncio.sleep(scene.chance.uniform(0, 1))
    await dying.kill()
    scene.promises.cut = {marker for marker, _ in scene.project.traces.all()}
    await scene.promises.kept(other.url)
    await dying.start()


async def _kill_with_webhooks(scene: Scene) -> None:
    scene.receiver = Receiver()
    async with serving(scene.receiver) as url:
        for number in range(12):
            await scene.promises.told_to(scene.servers[0].url, f"{scene.name}-told-{number}", url)
        await asyncio.sleep(scene.chance.uniform(0, 0.7))
        await scene.servers[0].kill()
        await scene.servers[0].start()
        await scene.promises.kept(scene.servers[0].url, scene.receiver)


async def _supervise(scene: Scene) -> None:
    """Starts the server again whenever a run ended it; it may do so again before it is ready."""
    server = scene.servers[0]
    while not (server.runs and all(client.done() for client in scene.clients)):
        if not server.runs:
            with contextlib.suppress(RuntimeError):
                await server.start()
        await asyncio.sleep(0.05)


async def _use_up_descriptors(scene: Scene) -> None:
    """Far more connections than there is room for, which ask for nothing."""
    await scene.moment()
    held = []
    try:
        for _ in range(400):
            with contextlib.suppress(OSError):
                held.append(await asyncio.open_connection(*scene.servers[0].address))
        await asyncio.sleep(scene.chance.uniform(0.5, 2))
    finally:
        for _, writer in held:
            writer.close()


async def _take_file(scene: Scene) -> None:
    """Away, or an older copy in its place: the server does not start; with the file back it goes on."""
    server = scene.servers[0]
    await scene.moment()
    await server.terminate()
    file = scene.project.data / scene.chance.choice(FILES)
    older, newer = (shutil.copy(file, scene.project.folder / "older"), scene.project.folder / "newer")
    await server.start()
    await scene.moment()
    await server.terminate()
    file.rename(newer)
    if scene.chance.random() < 0.5:
        shutil.copy(older, file)
    await server.refuse("do not belong together")
    newer.replace(file)
    await server.start()


async def _nothing(scene: Scene) -> None:
    """The clients or their graphs are the fault."""


FAULTS: Sequence[Fault] = (
    Fault("kill -9", _kill),
    Fault("SIGTERM", _terminate),
    Fault("kill -9 while starting", _kill_while_starting),
    Fault("kill -9 of one of two", _kill_one_of_two, servers=2),
    Fault("suspended over its lease", _suspend, settings={"LEASE_SECONDS": _SUSPENDED_SECONDS / 2}),
    Fault("back from the dead", _suspend, servers=2, settings={"LEASE_SECONDS": _SUSPENDED_SECONDS / 2}),
    Fault("disk full", _fill_disk, size=24 << 20),
    Fault("writes fail", _fail_writes),
    Fault("file missing or older", _take_file, patience=4 * PATIENCE_SECONDS),  # for three starts
    Fault("clock set back", _set_clock_back, clock=True),
    Fault("clock set forward", _set_clock_forward, clock=True),
    Fault("event loop blocked", _nothing, settings={"LEASE_SECONDS": 2}, orders=("block", "", ""), reruns=False),
    Fault(
        "model hangs",
        _nothing,
        settings={"RUN_TIMEOUT": 6},
        orders=("hang", "", ""),
        endings=frozenset({"success", "timeout"}),
        codes=frozenset({"timeout"}),
        reruns=False,
    ),
    Fault(
        "unserialisable, 50 MB",
        _nothing,
        orders=("unserializable", "huge", ""),
        endings=FAILED,
        codes=frozenset({"not_serializable", "state_too_large"}),
        reruns=False,
    ),
    Fault(
        "cancel",
        _nothing,
        endings=frozenset({"success", "interrupted"}),
        codes=frozenset({"cancelled"}),
        cancels=True,
        reruns=False,
    ),
    Fault("client drops", _nothing, cut_every=4, reruns=False),
    Fault("dies with runs to come", _die_with_runs_to_come, servers=2),
    Fault("webhooks under kill -9", _kill_with_webhooks),
    Fault(
        "a node ends its process",
        _supervise,
        settings={"MAX_ATTEMPTS": 1},
        orders=("exit", *("",) * 7),
        endings=FAILED,
        codes=frozenset({"too_many_attempts"}),
        harmful=frozenset({"exit"}),
        patience=3 * PATIENCE_SECONDS,  # for three starts
    ),
    Fault("descriptors used up", _use_up_descriptors, descriptors=128, reruns=False),
    Fault(
        "an ending raises",
        _nothing,
        orders=("",),
        endings=FAILED,
        environment={"FAULTS_ENDINGS": "1"},
        reruns=False,
    ),
)


async def play(fault: Fault, *, seed: int, rounds: int, clients: int) -> Outcome:
    """All rounds of a fault, on a folder of its own.

    Args:
        fault: the fault.
        seed: of the dice.
        rounds: how many.
        clients: in each round.
    """
    outcome = Outcome(fault.name)
    if fault.clock and library() is None:
        outcome.skipped = MISSING
        return outcome
    async with contextlib.AsyncExitStack() as stack:
        folder = stack.enter_context(_folder(fault.size))
        if folder is None:
            outcome.skipped = "no file system of a size of its own can be mounted here"
            return outcome
        project = Project(folder, **fault.settings)
        stack.callback(project.traces.close)
        project.descriptors = fault.descriptors
        project.environment |= fault.environment
        servers = [Server(project, f"server-{number}") for number in range(fault.servers)]
        for server in servers:
            stack.push_async_callback(server.kill)
            await server.start()
        for number in range(rounds):
            chance = random.Random(f"{seed} {fault.name} {number}")  # repeatable
            await _round(fault, Scene(project, servers, chance, f"{number}"), clients, number, outcome)
        for server in servers:
            errors = [line for line in server.log.read_text().splitlines() if "could not be ended" in line]
            if errors and not fault.size:
                outcome.verdict.lost += errors
    return outcome


async def _round(fault: Fault, scene: Scene, count: int, number: int, outcome: Outcome) -> None:
    urls = [server.url for server in scene.servers]
    clients = [_client(fault, scene, urls, f"{number}-{place}", place) for place in range(count)]
    tasks = scene.clients = [asyncio.create_task(client.run()) for client in clients]
    began = time.monotonic()
    await fault.strike(scene)
    results = await asyncio.gather(*tasks, return_exceptions=True)
    outcome.rounds += 1
    for client, result in zip(clients, results, strict=True):
        outcome.runs += len(client.runs)
        if isinstance(result, BaseException):
            outcome.verdict.lost.append(f"{client.order['marker']}: {result!r}")
            continue
        try:
            verdict = await check(client, urls[0], scene.project.traces, _expected(fault, client))
        except httpx.HTTPError as exc:
            verdict = Verdict(lost=[f"{client.order['marker']}: the server does not answer any more: {exc!r}"])
        outcome.verdict.add(verdict)
        outcome.cuts += verdict.cuts
    outcome.runs += len(scene.promises.threads)
    outcome.verdict.add(await scene.promises.check(urls[0], scene.project.traces, scene.receiver))
    gaps = [after - before for client in clients for before, after in client.gaps if after > began]
    outcome.recovered.append(max(gaps, default=0.0))


def _expected(fault: Fault, client: Client) -> Expected:
    if fault.harmful and client.order["do"] not in fault.harmful:
        return Expected(reruns=fault.reruns)
    return Expected(endings=fault.endings, codes=fault.codes, reruns=fault.reruns)


def _client(fault: Fault, scene: Scene, urls: list[str], marker: str, place: int) -> Client:
    chance = random.Random(scene.chance.random())  # repeatable
    order = Order(
        marker=marker,
        steps=chance.randint(3, 8),
        pause=chance.choice([0.01, 0.05, 0.1]),
        do=fault.orders[place % len(fault.orders)],
    )
    known = urls if place % 2 else urls[::-1]
    return Client(
        known,
        WIRES[(place // 2) % 2],
        order,
        chance,
        scene.under_way,
        cut_every=fault.cut_every,
        cancels=fault.cancels,
        patience=fault.patience,
    )


@contextlib.contextmanager
def _folder(size: int) -> Iterator[Path | None]:
    """A folder; on a file system of its own if it is to have a size, None if that cannot be."""
    folder = Path(tempfile.mkdtemp(prefix="threadline-faults-"))
    mounted = False
    try:
        if size:
            command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
            mounted = shutil.which("mount") is not None and subprocess.run(command, check=False).returncode == 0
        yield folder if mounted or not size else None
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(folder)], check=False)
        shutil.rmtree(folder, ignore_errors=True)
