"""What notes are made of."""

import enum
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

from pydantic import BaseModel


class Weight(enum.Enum):
    """How much it matters."""

    LIGHT = "light"
    HEAVY = "heavy"


class Place(NamedTuple):
    """Where it was taken."""

    shelf: str
    row: int


class Author(BaseModel):
    """Who wrote it."""

    name: str


@dataclass
class Note:
    """Something written down."""

    text: str
    by: Author
    weight: Weight = Weight.LIGHT
    place: Place | None = None
    tags: set[str] = field(default_factory=set)
    at: datetime | None = None


@dataclass(frozen=True)
class Parcel:
    """A note on its way, and who else reads it."""

    note: Note
    copies: list[Author] = field(default_factory=list)


def taken(text: str) -> Note:
    """A note with one value of each kind."""
    return Note(text, Author(name="ada"), Weight.HEAVY, Place("b", 2), {text}, datetime(2026, 1, 2, tzinfo=UTC))


def different(found: Any, wanted: Any) -> list[str]:
    """What is not what it was: nothing, if all is well."""
    return [] if type(found) is type(wanted) and found == wanted else [f"{found!r} is not {wanted!r}"]
