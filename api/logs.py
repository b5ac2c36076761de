"""Logs: how a record becomes one line, and what each says of the run and the request that it belongs to.

    logged(run_id=...) ──a context variable──> all that is logged inside, the user's graph included ──> Text or Json

Only the command line configures logging, with `configure`. An app that is mounted in another one logs to the host's
handlers; these can use the formatters here.
"""

import contextlib
import logging
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Literal

import orjson

from api.redaction import shortened

LogFormat = Literal["text", "json"]
LogLevel = Literal["debug", "info", "warning", "error"]

_FIELDS: ContextVar[Mapping[str, Any] | None] = ContextVar("threadline_log_fields", default=None)

_QUIET = (
    "aiosqlite",
    "asyncio",
    "httpcore",
    "httpx",
    "langgraph",
    "langsmith",
    "openai",
    "opentelemetry",
    "requests",
    "urllib3",
    "uvicorn",
    "watchfiles",
)
"""Libraries that say at `info` and `debug` what only their authors want to know."""

_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "color_message", "taskName"}
"""Attributes of a record that are no fields of its author's."""
_RESERVED = frozenset({"ts", "level", "logger", "message", "exception"})

_UNSAFE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""What could end a line, move the cursor of a terminal, or show a line as another; a tab may stay."""

_HIDDEN = "[redacted]"
_NAMED = (
    r"(?:proxy-)?authorization|(?:x-)?api[-_]?key|x-auth-key|(?:access|refresh|auth|id)[-_]?token|"
    r"client[-_]?secret|password|set-cookie|cookie"
)
_SECRET_NAME = re.compile(rf"(?i)(?:\w+[-_])?(?:{_NAMED})")
_SECRETS = (
    (
        re.compile(
            rf"(?i)\b((?:\w+[-_])?(?:{_NAMED}))((?:[\"']?\s*[:=]\s*|[\"']\s*,\s*)(?:b?[\"'])?)"
            r"(?:(?:bearer|basic|token)\s+)?[^\s\"'&,;)}\]]+"
        ),
        rf"\1\2{_HIDDEN}",
    ),
    (re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{8,}"), rf"\1 {_HIDDEN}"),
    (re.compile(r"\b(?:sk|pk|lsv2_[a-z]{2}|ghp|xox[a-z])[-_][\w-]{12,}"), _HIDDEN),
    (re.compile(r"(://[^\s/:@]*:)[^\s/@]+@"), rf"\1{_HIDDEN}@"),
)
_SECRET_VARIABLE = re.compile(r"(?:KEY|KEYS|TOKEN|SECRET|PASSWORD|OTLP_(?:\w+_)?HEADERS)$")
_SHORTEST_SECRET = 8

_LONGEST = 8192
"""Characters of a message or a field that are logged."""
_LONGEST_LINE = 1024
"""Likewise of a line of a stack trace: a graph's exception may have all of its input in its text."""
_FIRST_LINES, _LAST_LINES = 150, 50
"""Of a stack trace."""
_MOST_ALIKE = 100
"""Lines that one place in the code logs of one run in a second."""


@contextlib.contextmanager
def logged(**fields: Any) -> Iterator[None]:
    """Adds fields to every line that is logged inside, in tasks and threads that begin there too."""
    token = _FIELDS.set({**(_FIELDS.get() or {}), **fields})
    try:
        yield
    finally:
        _FIELDS.reset(token)


class Redaction:
    """Keeps secrets out of lines.

    Args:
        environment: the values of its variables that are called like secrets are hidden wherever they appear.
    """

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        values = {
            part
            for name, value in (os.environ if environment is None else environment).items()
            if _SECRET_VARIABLE.search(name)
            for part in (value, *value.splitlines())
            if len(part) >= _SHORTEST_SECRET
        }
        longest_first = sorted(values, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, longest_first))) if values else None
        self._margin = len(longest_first[0]) if values else 0

    def __call__(self, text: str, longest: int = _LONGEST) -> str:
        """The text without secrets; of a long one the beginning."""
        return shortened(text, self._hide, longest=longest, margin=self._margin)

    def trace(self, text: str) -> str:
        """Likewise of a stack trace, line by line: its first and its last ones."""
        lines = text.split("\n")
        if (left_out := len(lines) - _FIRST_LINES - _LAST_LINES) > 0:
            lines[_FIRST_LINES:-_LAST_LINES] = [f"… ({left_out} lines)"]
        return "\n".join(self(line, _LONGEST_LINE) for line in lines)

    def _hide(self, text: str) -> str:
        if self._known is not None:
            text = self._known.sub(_HIDDEN, text)
        for pattern, replacement in _SECRETS:
            text = pattern.sub(replacement, text)
        return text


class TextFormatter(logging.Formatter):
    """One line a record: time, level, logger, message, fields. A stack trace follows, indented.

    Nothing that is logged can begin a line: control characters are shown as escapes.

    Args:
        redaction: hides secrets.
    """

    def __init__(self, redaction: Redaction) -> None:
        super().__init__()
        self._redaction = redaction

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        time = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S")
        message = _plain(self._redaction(record.getMessage()))
        fields = "".join(f" {name}={_plain(self._redaction(str(value)))}" for name, value in _fields().items())
        line = f"{time} {record.levelname} {_plain(record.name)}: {message}{fields and f' [{fields[1:]}]'}"
        trace = _trace(self, record)
        return "\n    ".join([line, *map(_plain, self._redaction.trace(trace).split("\n"))]) if trace else line


class JsonFormatter(logging.Formatter):
    """One JSON object a line: `ts` (UTC, ISO 8601), `level`, `logger`, `message`, the fields of the run and the
    request, what the author gave as `extra`, and `exception` with the stack trace.

    Args:
        redaction: hides secrets.
    """

    def __init__(self, redaction: Redaction) -> None:
        super().__init__()
        self._redaction = redaction

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        ts = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line: dict[str, Any] = {
            "ts": ts,
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_fields(),
        }
        extra = {name: value for name, value in record.__dict__.items() if name not in _STANDARD | _RESERVED}
        line = {**extra, **line}
        shown = {name: self._value(name, value) for name, value in line.items()}
        if trace := _trace(self, record):
            shown["exception"] = _writable(self._redaction.trace(trace))
        encoded = orjson.dumps(shown).decode()
        return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", encoded)

    def _value(self, name: str, value: Any) -> Any:
        if _SECRET_NAME.fullmatch(name):
            return _HIDDEN
        if value is None or isinstance(value, bool | float) or (isinstance(value, int) and abs(value) < 1 << 53):
            return value
        return _writable(self._redaction(str(value)))


class Flood(logging.Filter):
    """Lets through, of what one place in the code logs of one run or request, some lines a second.

    LangGraph says of each name that it does not know, in a line of its own, that it ignores it: a client may give many
    thousands of them, and each line is written on the event loop.
    """

    def __init__(self) -> None:
        super().__init__()
        self._second = 0
        self._alike: dict[tuple[object, ...], int] = {}
        """How many lines there were in this second, by place, run and request."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line is logged; the last of a second says that it is that."""
        if (second := int(time.monotonic())) != self._second:
            self._second, self._alike = second, {}
        fields = _fields()
        place = (record.name, record.lineno, fields.get("run_id"), fields.get("request_id"))
        alike = self._alike[place] = self._alike.get(place, 0) + 1
        if alike == _MOST_ALIKE:
            record.msg, record.args = f"{record.getMessage()} (further lines like it are left out)", None
        return alike <= _MOST_ALIKE


def configure(log_format: LogFormat, level: LogLevel, *filters: logging.Filter) -> None:
    """Sends what is logged in this process to stderr: the service's lines, the graphs', uvicorn's.

    Args:
        log_format: of the lines.
        level: the lowest that is shown; libraries that talk much show warnings at least.
        filters: for the one handler.
    """
    formatter = (JsonFormatter if log_format == "json" else TextFormatter)(Redaction())
    handler = logging.StreamHandler()
    handler.setFormatter(formatter)
    for each in (*filters, Flood()):
        handler.addFilter(each)
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLogger().level))
    # There are none unless they were asked for.
    logging.getLogger("uvicorn.access").setLevel(logging.INFO)
    logging.captureWarnings(capture=True)


def _fields() -> Mapping[str, Any]:
    return _FIELDS.get() or {}


def _trace(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    trace = formatter.formatException(record.exc_info) if record.exc_info and record.exc_info[0] else ""
    stack = formatter.formatStack(record.stack_info) if record.stack_info else ""
    return "\n".join(part for part in (trace, stack) if part)


def _writable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def _plain(text: str) -> str:
    return _UNSAFE.sub(lambda found: repr(found[0])[1:-1], text)
