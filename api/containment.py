"""Containment: what would end the process ends only what it was raised in.

    contained(): a run, a request, a cron's date ──> tasks begun inside ──task factory──> their SystemExit is an error

A task whose coroutine raises SystemExit or KeyboardInterrupt hands it to the event loop, which ends, and all runs of
the process with it. Code of graphs, tools and handlers, and of whatever these call, may raise either, in any task.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextvars import ContextVar
from typing import Any, TypeVar

T = TypeVar("T")

_NEVER_OF_A_TASK = (SystemExit, KeyboardInterrupt, GeneratorExit)
"""The first two end the event loop. The third is thrown into who awaits the task, whom Python closes by that."""

_inside: ContextVar[bool] = ContextVar("threadline_contained", default=False)


class EscapedError(Exception):
    """Code raised what is no error, but an end of the process; `cause` is what."""

    def __init__(self, cause: BaseException) -> None:
        super().__init__(f"{type(cause).__name__} was raised: {cause}")
        self.cause = cause


async def held(awaitable: Awaitable[T]) -> T:
    """Awaits code of a graph or a handler.

    Raises:
        EscapedError: it raised what is no error, and what nobody outside had asked for: a SystemExit, say, or a
            CancelledError though nobody cancelled this task.
    """
    task = asyncio.current_task()
    try:
        return await awaitable
    except Exception:
        raise
    except BaseException as exc:
        if _was_asked_for(exc, task):
            raise
        raise EscapedError(exc) from exc


def _was_asked_for(exc: BaseException, task: asyncio.Task[Any] | None) -> bool:
    if isinstance(exc, asyncio.CancelledError):
        return task is not None and task.cancelling() > 0
    # One that comes while the task does not execute closes its coroutine.
    return isinstance(exc, GeneratorExit) and task is not _executing()


def _executing() -> asyncio.Task[Any] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None


def unescaped(exc: BaseException) -> BaseException:
    """What code raised, whether a task of its own turned it into an error or not."""
    return exc.cause if isinstance(exc, EscapedError) else exc


@contextlib.contextmanager
def contained() -> Iterator[None]:
    """Of all tasks that are begun inside, and inside these, none can end the event loop."""
    token = _inside.set(True)
    try:
        yield
    finally:
        _inside.reset(token)


@contextlib.contextmanager
def containing() -> Iterator[None]:
    """The running event loop knows `contained` until the end; its other tasks, a host app's say, are as they were."""
    loop = asyncio.get_running_loop()
    earlier = loop.get_task_factory()
    make = _factory(earlier or asyncio.Task)
    loop.set_task_factory(make)
    try:
        yield
    finally:
        # Whoever came after keeps theirs.
        if loop.get_task_factory() is make:
            loop.set_task_factory(earlier)


def _factory(make: Callable[..., asyncio.Future[Any]]) -> Any:
    def factory(loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> asyncio.Future[Any]:
        context = options.get("context")
        inside = _inside.get() if context is None else context.get(_inside, False)
        given = _Held(coro) if inside and asyncio.iscoroutine(coro) else coro
        # `asyncio.Task` has its loop as an option, a factory as its first argument.
        return make(given, loop=loop, **options) if make is asyncio.Task else make(loop, given, **options)

    return factory


class _Held(Coroutine[Any, Any, T]):
    """A coroutine that raises an error in place of what would end the loop.

    No coroutine around it: one that is cancelled before its first step would leave the inner one never awaited.
    """

    __slots__ = ("_coro",)

    def __init__(self, coro: Coroutine[Any, Any, T]) -> None:
        self._coro = coro

    def send(self, value: Any) -> Any:
        try:
            return self._coro.send(value)
        except _NEVER_OF_A_TASK as exc:
            raise EscapedError(exc) from exc

    def throw(self, *args: Any) -> Any:
        try:
            return self._coro.throw(*args)
        except _NEVER_OF_A_TASK as exc:
            raise EscapedError(exc) from exc

    def close(self) -> None:
        self._coro.close()

    def __await__(self) -> Any:
        return self._coro.__await__()

    def __getattr__(self, name: str) -> Any:
        # Its frame and its names: what shows a task's stack asks for them.
        return getattr(self._coro, name)
