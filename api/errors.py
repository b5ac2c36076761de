"""The closed tree of errors: what can go wrong for a caller, each with its HTTP status and a stable code."""

from collections.abc import Iterator, Mapping, Sequence

from pydantic import ValidationError


class ThreadlineError(Exception):
    """Base of every error that a caller may see; its message is meant for them."""

    status = 500
    code = "internal_error"

    def __init__(self, message: str, *, field: str | None = None, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.retry_after = retry_after
        """Seconds after which the same request may succeed; None: unknown."""

    def body(self) -> dict[str, object]:
        """The JSON body of the HTTP response: `{"error": {"code", "message", "field"?}, "detail"}`.

        `detail` repeats the message, because langgraph_sdk shows that key.
        """
        error: dict[str, object] = {"code": self.code, "message": self.message}
        if self.field is not None:
            error["field"] = self.field
        return {"error": error, "detail": self.message}


class InvalidRequestError(ThreadlineError):
    """The request is malformed."""

    status = 422
    code = "invalid_request"


def invalid(exc: ValidationError, prefix: str = "") -> InvalidRequestError:
    """The first complaint of a validation, with the field it is about."""
    complaint = exc.errors(include_url=False, include_context=False)[0]
    field = ".".join(str(part) for part in (prefix, *complaint["loc"]) if part != "") or "body"
    return InvalidRequestError(f"{field}: {complaint['msg']}.", field=field)


class BadRequestError(ThreadlineError):
    """The request is well-formed, but contradicts itself or the state of what it names."""

    status = 400
    code = "bad_request"


class StateNotSetError(BadRequestError):
    """A thread was created, but not the state that it was to begin with: LangGraph's answer to that is a 201."""

    status = 201

    def body(self) -> dict[str, object]:
        """`{"detail"}` alone: the status says that this is no error."""
        return {"detail": self.message}


class UnauthorizedError(ThreadlineError):
    """The request does not say who makes it, or not truly."""

    status = 401
    code = "unauthorized"


class ForbiddenError(ThreadlineError):
    """The caller may not do this, whatever it is done to."""

    status = 403
    code = "forbidden"


class RefusedError(ThreadlineError):
    """An authorisation handler refused with a status, and perhaps headers, of its own."""

    def __init__(self, message: str, status: int, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = {401: UnauthorizedError.code, 403: ForbiddenError.code}.get(status, "refused")
        self.headers = dict(headers or {})


class NotFoundError(ThreadlineError):
    """What the request names does not exist."""

    status = 404
    code = "not_found"


class ConflictError(ThreadlineError):
    """The thread is busy, or what is to be created exists."""

    status = 409
    code = "conflict"


class NotAcceptableError(ThreadlineError):
    """No form of the response is one that the client accepts."""

    status = 406
    code = "not_acceptable"


class InvalidCursorError(ThreadlineError):
    """The cursor is not the id of an event."""

    status = 400
    code = "invalid_cursor"


class GapError(ThreadlineError):
    """The cursor is older than the events that are kept."""

    status = 410
    code = "events_gone"


class BodyTooLargeError(ThreadlineError):
    """The request body is over the limit."""

    status = 413
    code = "body_too_large"


class SlowRequestError(ThreadlineError):
    """The request's body did not come in time."""

    status = 408
    code = "request_timeout"


class RateLimitedError(ThreadlineError):
    """The caller has had its share; trying again later works."""

    status = 429
    code = "rate_limited"


class OverloadedError(ThreadlineError):
    """A limit of the server is reached; trying again later can work."""

    status = 503
    code = "overloaded"


class SearchTimeoutError(ThreadlineError):
    """A search took longer than it may."""

    status = 503
    code = "search_timeout"


class AnswerTooLargeError(ThreadlineError):
    """What the request asks for is larger than one answer may be."""

    status = 422
    code = "answer_too_large"

    def __init__(self, most: int) -> None:
        super().__init__(
            f"The answer would be larger than {most} bytes: ask for fewer records with `limit`, or for parts of them."
        )


class ShuttingDownError(ThreadlineError):
    """The server ends; the run goes on after its next start, and so does a stream from where it was cut."""

    status = 503
    code = "shutting_down"


class NotLoadedError(ThreadlineError):
    """The code that the server serves is being changed, and cannot be loaded as it is."""

    status = 503
    code = "not_loaded"


class UnsupportedError(ThreadlineError):
    """The option is known, but this server does not support it."""

    status = 501
    code = "not_supported"


class StorageError(ThreadlineError):
    """The storage failed; nothing was changed."""

    status = 503
    code = "storage_failed"


class StorageUnavailableError(StorageError):
    """The storage cannot do it now: its disk is full, say. The same may work later."""


class FencedError(ThreadlineError):
    """A write of an attempt that another attempt has replaced; nothing was changed."""

    code = "fenced"


class UnserializableError(ThreadlineError):
    """A value of the graph cannot be stored.

    Args:
        what: it is.
        path: where it is, from the state's key inwards.
    """

    code = "not_serializable"

    def __init__(self, what: str, path: Sequence[str] = ()) -> None:
        self.what = what
        self.path = tuple(path)
        shown = ".".join(self.path[1:] if self.path[:1] == ("channel_values",) else self.path)
        super().__init__(f"The state cannot be stored: {shown or 'the value'} is {what}.")

    def inside(self, key: str) -> "UnserializableError":
        """The same, of a value that lies under a key."""
        return UnserializableError(self.what, (key, *self.path))


class StateTooLargeError(ThreadlineError):
    """The graph's state, or a value in it, is over the limit."""

    status = 413
    code = "state_too_large"


class ConfigError(ThreadlineError):
    """langgraph.json, or what it names, cannot be used: the server does not start."""

    code = "bad_config"


class FactoryError(ThreadlineError):
    """The function that langgraph.json names for a graph did not make one; the log says why."""

    code = "graph_factory_failed"


class RunError(ThreadlineError):
    """A run failed; `code` says why, `cause` is what the graph raised, if it did."""

    def __init__(self, code: str, message: str, cause: BaseException | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.cause = cause
        self.status = STATUS_BY_CODE.get(code, 500)


_BY_CLASS = {
    "openai.APITimeoutError": ("model_timeout", "The model did not answer in time.", 504),
    "openai.APIConnectionError": ("model_unreachable", "The connection to the model's server failed or was cut.", 502),
    "langchain_openai.StreamChunkTimeoutError": ("model_timeout", "The model did not answer in time.", 504),
    "openai.AuthenticationError": ("model_unauthorized", "The model's server refused the API key.", 502),
    "openai.PermissionDeniedError": ("model_unauthorized", "The model's server refused access.", 502),
    "openai.RateLimitError": ("model_rate_limited", "The model's server is limiting requests.", 503),
    "openai.NotFoundError": ("model_not_found", "The model's server does not know this model.", 502),
    "openai.BadRequestError": ("model_rejected", "The model's server rejected the request.", 502),
    "openai.APIError": ("model_error", "The model's server failed.", 502),
    "httpx.TimeoutException": ("upstream_timeout", "A connection timed out.", 504),
    "httpx.TransportError": ("upstream_unreachable", "A connection failed or was cut.", 502),
    "langgraph.errors.GraphRecursionError": ("recursion_limit", "The graph reached its recursion limit.", 500),
    "langgraph.errors.InvalidUpdateError": ("invalid_update", "The graph did not accept the input or an update.", 400),
    "langgraph.errors.EmptyInputError": ("empty_input", "The graph got no input.", 422),
}
"""Failures that a graph may raise, by class name: providers' packages are not imported to compare them."""


STATUS_BY_CODE = {code: status for code, _, status in _BY_CLASS.values()} | {
    "cancelled": 409,
    "context_length_exceeded": 422,
    InvalidRequestError.code: InvalidRequestError.status,
    "storage_failed": 503,
    "timeout": 504,
    "too_many_attempts": 500,
}
"""What `invoke` answers for the code of a failed run; 500 for any other."""


def run_error(exc: BaseException) -> RunError:
    """What a client is told of a failed run: a stable code and a sentence, no stack trace and no inner message.

    Args:
        exc: what the graph raised; anything.
    """
    code, message = _told(exc)
    return RunError(code, message, exc)


def is_storage_failure(exc: BaseException) -> bool:
    """Whether the storage failed, whoever called it: the service, or LangGraph's own saver or store."""
    return isinstance(exc, StorageError) or "sqlite3.Error" in _class_names(exc)


def is_passing(exc: BaseException) -> bool:
    """Whether it was raised, in whatever it is wrapped by now, because the storage cannot do its work at the moment."""
    seen: list[BaseException] = []
    left: list[BaseException | None] = [exc]
    while left:
        each = left.pop()
        if each is None or each in seen:
            continue
        if isinstance(each, (StorageUnavailableError, OverloadedError)):
            return True
        seen.append(each)
        left += [each.__cause__, each.__context__, *(each.exceptions if isinstance(each, BaseExceptionGroup) else ())]
    return False


def _told(exc: BaseException) -> tuple[str, str]:
    if isinstance(exc, ThreadlineError):
        return exc.code, exc.message
    if getattr(exc, "code", None) == "context_length_exceeded":
        return "context_length_exceeded", "The conversation is longer than the model's context window."
    for name in _class_names(exc):
        if found := _BY_CLASS.get(name):
            return found[:2]
    return "graph_error", f"The graph failed with {type(exc).__name__}."


def _class_names(exc: BaseException) -> Iterator[str]:
    for cls in type(exc).__mro__:
        package = cls.__module__ if cls.__module__.startswith("langgraph.") else cls.__module__.partition(".")[0]
        yield f"{package}.{cls.__name__}"
