"""The SQL files: statements by name, the schema as numbered migrations, and what the store's tables lack."""

import re
from collections.abc import Mapping, Sequence
from importlib.resources import files

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)
_PART = re.compile(r"^-- part: (\w+)$", re.MULTILINE)
_PLACE = re.compile(r"\{(\w+)\}")
_MIGRATION = re.compile(r"^-- migration: (\d+)$", re.MULTILINE)
_COMMENT = re.compile(r"^--.*$", re.MULTILINE)


def queries(name: str = "queries.sql") -> Mapping[str, str]:
    """The statements of queries.sql, or of another file, by name, with the parts that they share."""
    shared, *statements = _NAME.split(_read(name))
    parts = _sections(_PART.split(shared)[1:])
    return {name: _PLACE.sub(lambda place: parts[place[1]], text) for name, text in _sections(statements).items()}


def migrations() -> Sequence[Sequence[str]]:
    """The statements of schema.sql, a sequence for each migration: the first is number 1."""
    _, *parts = _MIGRATION.split(_read("schema.sql"))
    return [_statements(text) for text in parts[1::2]]


def store_script() -> str:
    """The script of store.sql; running it again changes nothing."""
    return _read("store.sql")


def saver_script() -> str:
    """The script of saver.sql; running it again changes nothing."""
    return _read("saver.sql")


def _read(name: str) -> str:
    return files(__name__).joinpath(name).read_text(encoding="utf-8")


def _bare(text: str) -> str:
    return _COMMENT.sub("", text).strip()


def _sections(named: Sequence[str]) -> dict[str, str]:
    """Texts by the names before them."""
    return {name: _bare(text) for name, text in zip(named[::2], named[1::2], strict=True)}


def _statements(text: str) -> Sequence[str]:
    return [statement for part in _bare(text).split(";\n") if (statement := part.strip().removesuffix(";"))]
