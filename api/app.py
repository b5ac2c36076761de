"""The app: `create_app` wires everything in its lifespan.

settings ──> Threadline.open: registry, storage, checkpointer, store ──> executor ──> worker
                 └──> runs, threads, agents, assistants <── routes
"""

import contextlib
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Self

from fastapi import FastAPI
from starlette.routing import BaseRoute
from starlette.types import Scope

from api.agents import Agents
from api.assistants import Assistants
from api.auth import Authority, load_auth, restored
from api.authentication import Authentication
from api.body_limit import BodyLimit
from api.boundary import Boundary
from api.callers import Caller
from api.checkpoint_serde import load_serde
from api.checkpointer_config import ThreadTtl, load_checkpointer_config
from api.containment import containing
from api.cron_scheduler import CronScheduler
from api.crons import CronLimits, Crons
from api.custom_app import CustomApp, CustomMiddleware, MountPrefix, Routing, load_custom_app
from api.deliverer import Deliverer
from api.errors import StorageError, ThreadlineError, is_storage_failure
from api.executor import CallbackFactory, Executor
from api.guard import Access, Guard
from api.headers import ConfigurableHeaders, load_configurable_headers
from api.http_config import HttpConfig, load_http_config
from api.loop_lag import LoopLag
from api.loop_watch import LoopWatch
from api.metrics import Metrics, Observable
from api.openapi import describe
from api.registry import GraphEntry, Registry, load
from api.request_limits import RequestLimits
from api.request_scope import REQUEST_ID, RequestScope
from api.responses import JsonResponse, add_error_handlers
from api.retention import Retention
from api.routes import agents, assistants, crons, docs, meta, runs, store, threads
from api.run_requests import RunRequests
from api.runs import RunRequest, Runs
from api.schedules import Clock
from api.schemas import Cron, Delivery, Outcome, Run
from api.settings import Settings
from api.states import States
from api.storage.base import Storage
from api.storage.sqlite import SqliteStorage
from api.storage.sqlite.checkpoints import SqliteCheckpoints, open_checkpoints
from api.storage.sqlite.folder import Folder
from api.storage.sqlite.store import open_store
from api.storage.sqlite.store_searches import open_store_searches
from api.store_config import load_store_config
from api.store_items import StoreItems
from api.sweeper import Sweeper
from api.telemetry import telemetry
from api.thread_streams import ThreadStreams
from api.threads import Threads
from api.tracing import Tracing
from api.turns import Turns
from api.views import Views
from api.web_origins import Cors, WebOrigins, WebPages
from api.webhook_rules import load_webhook_config
from api.webhooks import Webhooks, signing_secrets
from api.worker import Worker

logger = logging.getLogger(__name__)


class Threadline:
    """All that a running server owns: opened once, closed once, shared with nobody.

    Args:
        settings: how to run; read from the environment if not given.
        storage: a backend; SQLite in `settings.storage_dir` if not given.
        callbacks: makes further callback handlers for each run.
        clock: tells the time by which crons fire.
    """

    settings: Settings
    authority: Authority | None
    headers: ConfigurableHeaders
    http: HttpConfig
    metrics: Metrics
    registry: Registry
    storage: Storage
    agents: Agents
    assistants: Assistants
    crons: Crons
    runs: Runs
    run_requests: RunRequests
    store_items: StoreItems
    states: States
    thread_streams: ThreadStreams
    threads: Threads
    views: Views
    webhooks: Webhooks

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        storage: Storage | None = None,
        callbacks: CallbackFactory | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.settings = settings or Settings()
        self.metrics = Metrics()
        self.authority = None
        self.http = HttpConfig()
        self.custom_app: CustomApp | None = None
        self.routes: Sequence[BaseRoute] = ()
        """Those of the service, if it is served."""
        self.origins = WebOrigins(self.settings.cors_origins, self.settings.allowed_hosts, self.settings.host)
        self._given_storage = storage
        self._callbacks = callbacks
        self._clock = clock or Clock()
        self._stack = contextlib.AsyncExitStack()
        self.turns = Turns()
        """Taken by streams that have much to send."""

    async def __aenter__(self) -> Self:
        """Loads the graphs, opens the storage and starts the worker.

        Raises:
            ConfigError: langgraph.json, or a graph that it names, cannot be used.
            StorageError: the data cannot be read or written.
        """
        async with contextlib.AsyncExitStack() as stack:
            try:
                await self._open(stack)
            except Exception as exc:
                if not is_storage_failure(exc) or isinstance(exc, ThreadlineError):
                    raise
                raise StorageError(f"The data in {self.settings.storage_dir} cannot be used: {exc}.") from exc
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Stops the worker; what still runs goes back to the queue. Closes the storage."""
        await self._stack.aclose()

    async def drain(self, grace: float) -> None:
        """Prepares for the end: starts no run, lets graphs stop after their superstep, then cuts the streams.

        Args:
            grace: seconds that runs have.
        """
        try:
            await self._worker.drain(grace)
        finally:
            self.runs.end_streams()

    async def _open(self, stack: contextlib.AsyncExitStack) -> None:
        stack.enter_context(containing())
        config = self.settings.config
        entries = load(config)
        self.authority = load_auth(self.settings)
        self.headers = load_configurable_headers(config)
        self._load_http()
        ttl = load_checkpointer_config(config)
        secrets = signing_secrets(self.settings.webhook_secret.get_secret_value())
        self.webhooks = Webhooks(load_webhook_config(config), secrets=secrets)
        stack.push_async_callback(self.webhooks.close)
        checkpointer = await self._open_storage(stack, entries)
        tracing = await self._observe(stack)
        executor = Executor(
            self.registry,
            self.storage.queue,
            self.storage.log,
            self.settings,
            self.metrics,
            callbacks=self._callbacks,
            notice=self._notice,
            on_end=self._on_end,
            tracing=tracing,
        )
        self._worker = Worker(self.storage.queue, executor, self.settings)
        self._wire(executor, checkpointer, ttl)
        await self.assistants.register()
        await self.runs.open()
        stack.push_async_callback(self.runs.close)
        if self.custom_app is not None:
            await self.custom_app.enter(stack)
        self._start(stack, Retention(self.storage, checkpointer), ttl)

    def _load_http(self) -> None:
        self.http = load_http_config(self.settings.config)
        if self.http.cors is not None:
            self.origins.name(self.http.cors)
            if self.settings.cors_origins is not None:
                logger.warning(
                    "langgraph.json: http.cors alone says which pages may read answers: those that only "
                    "THREADLINE_CORS_ORIGINS names may not."
                )
        self.custom_app = load_custom_app(self.settings, self.http)
        if self.custom_app is not None:
            self.custom_app.check(self.routes)

    async def _open_storage(
        self, stack: contextlib.AsyncExitStack, entries: Mapping[str, GraphEntry]
    ) -> SqliteCheckpoints:
        settings = self.settings
        folder = settings.storage_dir
        store_config = load_store_config(settings.config)
        serde = load_serde(settings.config, max_bytes=settings.max_state_bytes)
        self.storage = self._given_storage or SqliteStorage(
            folder / "threadline.sqlite",
            search_seconds=settings.search_timeout,
            max_answer_bytes=settings.max_answer_bytes,
            wait_for_disk=settings.wait_for_disk,
        )
        data = Folder(folder, records=self._given_storage is None)
        stack.push_async_callback(data.close)
        async with data.opening():
            await self.storage.open()
            stack.push_async_callback(self.storage.close)
            wait = settings.wait_for_disk
            checkpointer = await stack.enter_async_context(
                open_checkpoints(folder / "checkpoints.sqlite", serde, wait_for_disk=wait)
            )
            store = await stack.enter_async_context(
                open_store(folder / "store.sqlite", ttl=store_config.ttl, index=store_config.index, wait_for_disk=wait)
            )
            searches = await stack.enter_async_context(
                open_store_searches(
                    folder / "store.sqlite",
                    ttl=store_config.ttl,
                    index=store_config.index,
                    seconds=settings.search_timeout,
                    max_bytes=settings.max_answer_bytes,
                )
            )
        self.store_items = StoreItems(store, store_config, search=searches.run, max_items=settings.max_store_items)
        self.registry = Registry(entries, checkpointer=checkpointer, store=store)
        return checkpointer

    async def _observe(self, stack: contextlib.AsyncExitStack) -> Tracing:
        if isinstance(self.storage, Observable):
            self.storage.observe(self.metrics)
        loop_lag = LoopLag(self.metrics.loop_lag)
        loop_lag.start()
        stack.callback(loop_lag.stop)
        return await stack.enter_async_context(telemetry(self.metrics, self.refresh_metrics))

    def _wire(self, executor: Executor, checkpointer: SqliteCheckpoints, ttl: ThreadTtl) -> None:
        settings = self.settings
        self.runs = Runs(self.storage, self._worker, executor, settings, ttl)
        self.states = States(self.storage, self.registry, max_bytes=settings.max_answer_bytes)
        self.views = Views(self.runs, self.states)
        self.thread_streams = ThreadStreams(self.storage, self.runs, self.views, settings)
        self.threads = Threads(self.storage, self.states, self.runs, checkpointer, ttl)
        self.assistants = Assistants(self.storage, self.registry, self.runs, self.threads)
        self.agents = Agents(self.registry, self.assistants)
        self.run_requests = RunRequests(self.storage, self.assistants, self.webhooks)
        cron_limits = CronLimits(settings.max_crons_per_caller, settings.min_cron_interval)
        self.crons = Crons(self.storage, self.assistants, self.run_requests, self._clock, cron_limits)

    def _start(self, stack: contextlib.AsyncExitStack, retention: Retention, ttl: ThreadTtl) -> None:
        self._worker.start()
        stack.push_async_callback(self._worker.stop)
        watch = LoopWatch(self.settings.loop_stall_seconds, self._worker.running)
        watch.start()
        stack.callback(watch.stop)
        scheduler = CronScheduler(self.storage, self.run_requests, self.runs, self._clock, self._admit_cron)
        scheduler.start()
        stack.push_async_callback(scheduler.stop)
        deliverer = Deliverer(self.storage.outbox, self.webhooks, grace=self.settings.shutdown_grace)
        deliverer.start()
        stack.push_async_callback(deliverer.stop)
        sweeper = Sweeper(self.threads, self.runs, retention, self.settings, ttl)
        sweeper.start()
        stack.push_async_callback(sweeper.stop)

    def is_custom(self, scope: Scope) -> bool:
        """Whether a request is for a route of the project's own app."""
        return self.custom_app is not None and self.custom_app.answers(scope, self.routes)

    def is_for_everybody(self, scope: Scope) -> bool:
        """Whether a request is for a route of the project's own app that nobody has to be known for."""
        return not self.http.enable_custom_route_auth and self.is_custom(scope)

    @property
    def asks_nobody(self) -> bool:
        """Whether the server serves whoever reaches it, without asking who that is."""
        return self.authority is None

    async def refresh_metrics(self) -> None:
        """Brings up to date what only the storage knows."""
        await self.metrics.refresh(self.storage)

    def guard(self, caller: Caller) -> Guard:
        """What a caller may do; there is an authority."""
        assert self.authority is not None  # noqa: S101  # a caller is known by it
        return Guard(self, Access(self.authority, caller))

    async def _admit_cron(self, cron: Cron, request: RunRequest) -> None:
        """A cron that was made when nobody had to say who they are goes on as it was."""
        if self.authority is not None and cron.caller is not None:
            caller = restored(cron.caller)
            self.authority.check_known(caller)
            await self.guard(caller).runs.admit(request)

    def _notice(self, run: Run, outcome: Outcome, started_at: datetime) -> Delivery | None:
        return None if self.http.disable_webhooks else self.webhooks.compose(run, outcome, started_at)

    async def _on_end(self, run: Run) -> None:
        await self.runs.ended(run)


def create_app(
    settings: Settings | None = None,
    *,
    storage: Storage | None = None,
    callbacks: CallbackFactory | None = None,
    clock: Clock | None = None,
) -> FastAPI:
    """The service as an ASGI app, to be served or mounted.

    A host app that mounts it runs its lifespan: `FastAPI(lifespan=service.router.lifespan_context)`, or enters that
    context inside a lifespan of its own.

    Args:
        settings: how to run; read from the environment if not given.
        storage: a backend; SQLite if not given.
        callbacks: called with each run; gives further LangChain callback handlers for it.
        clock: tells the time by which crons fire.
    """
    threadline = Threadline(settings, storage=storage, callbacks=callbacks, clock=clock)

    @contextlib.asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        async with threadline:
            yield

    app = FastAPI(
        title="Threadline", lifespan=lifespan, default_response_class=JsonResponse, docs_url=None, redoc_url=None
    )
    app.state.threadline = threadline
    _add_middleware(app, threadline)
    add_error_handlers(app)
    for routes in (meta, docs, agents, assistants, crons, runs, store, threads):
        app.include_router(routes.router)
    threadline.routes = tuple(app.routes)
    describe(app, threadline)
    return app


def _add_middleware(app: FastAPI, threadline: Threadline) -> None:
    """Each is outside of those before it: a body is bounded first, then its sender is known, then the limits hold."""
    settings = threadline.settings
    origins = threadline.origins
    app.add_middleware(Routing, threadline=threadline)
    app.add_middleware(CustomMiddleware, threadline=threadline, order="auth_first", outer=app)
    app.add_middleware(RequestLimits, settings=settings)
    app.add_middleware(Authentication, threadline=threadline)
    app.add_middleware(CustomMiddleware, threadline=threadline, order="middleware_first", outer=app)
    app.add_middleware(
        BodyLimit,
        max_bytes=settings.max_body_bytes,
        max_all=settings.max_bodies_bytes,
        timeout=settings.body_timeout,
    )
    app.add_middleware(Boundary)
    app.add_middleware(WebPages, origins=origins, openness=threadline)
    app.add_middleware(MountPrefix, threadline=threadline)
    app.add_middleware(
        Cors,
        origins=origins,
        openness=threadline,
        expose_headers=[
            "content-location",
            "location",
            "retry-after",
            "x-pagination-total",
            "x-pagination-next",
            REQUEST_ID,
        ],
    )
    app.add_middleware(RequestScope, metrics=threadline.metrics)
