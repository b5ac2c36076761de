"""One object of every kind that may lie in a state."""

import dataclasses
import datetime
import enum
import zoneinfo
from collections import deque
from decimal import Decimal
from ipaddress import ip_network
from pathlib import PurePosixPath
from typing import Any, Generic, NamedTuple, TypeVar

import attr
import numpy as np
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.prompt_values import StringPromptValue
from pydantic import BaseModel, ConfigDict, Field, RootModel, SecretStr
from pydantic.v1 import BaseModel as OldModel

T = TypeVar("T")


class Model(BaseModel):
    """The base of others."""


class Colour(enum.Enum):
    RED = (1, 0, 0)


class Level(enum.IntEnum):
    HIGH = 3


class Tone(enum.StrEnum):
    DARK = "dark"


class Right(enum.Flag):
    READ = 1
    WRITE = 2


class Place(NamedTuple):
    x: int
    tag: Colour


@dataclasses.dataclass
class Job:
    name: str
    inner: Any = None
    total: int = dataclasses.field(init=False, default=0)


@dataclasses.dataclass
class Priced:
    """Its constructor changes what it is given."""

    price: int
    tax: dataclasses.InitVar[int]

    def __post_init__(self, tax: int) -> None:
        self.price += tax


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    colour: Colour


@attr.define
class Attr:
    _hidden: int
    any: Any = None


class Step(Model):
    name: str = Field(alias="stepName")
    holds: Any = None


class Strict(Model):
    model_config = ConfigDict(extra="allow")
    parts: list[Model] = []


class Special(Model):
    depth: int


class Box(Model, Generic[T]):
    value: T


class Numbers(RootModel[list[int]]):
    pass


class Old(OldModel):
    name: str
    holds: Any = None


class Settings(Model):
    key: SecretStr


class Stamp(datetime.datetime):
    """As pandas' Timestamp is."""


IntBox = Box[int]


class Weather(Model):
    """What an agent answers with."""

    class Wind(Model):
        speed: float

    wind: Wind


def plan() -> dict[str, Any]:
    """All of them."""
    job = Job("a", inner=[Frozen(Colour.RED), Place(1, Colour.RED)])
    job.total = 7
    return {
        "job": job,
        "priced": Priced(1, 2),
        "attr": Attr(1, any=Job("b")),
        "enums": [Colour.RED, Level.HIGH, Tone.DARK, Right.READ | Right.WRITE],
        "place": Place(1, Colour.RED),
        "step": Step(stepName="s", holds=[Job("c"), HumanMessage("hi", id="1")]),
        "strict": Strict(parts=[Special(depth=1)], more=Job("d")),
        "boxes": [IntBox(value=1), Box(value=Job("e"))],
        "numbers": Numbers([1, 2]),
        "old": Old(name="o", holds=Place(2, Colour.RED)),
        "settings": Settings(key=SecretStr("k")),
        "secret": SecretStr("k"),
        "weather": Weather(wind=Weather.Wind(speed=1.5)),
        "messages": [
            AIMessage("x", id="2", additional_kwargs={"parsed": Weather(wind=Weather.Wind(speed=2))}),
            ToolMessage("r", tool_call_id="c", id="3", artifact={"job": Job("f"), "score": np.float64(0.5)}),
        ],
        "document": Document("d", metadata={"job": Job("g")}),
        "prompt": StringPromptValue(text="p"),
        "array": np.arange(6).reshape(2, 3).T,
        "scalars": [np.float64(1.5), np.float32(2), np.int64(3)],
        "plain": [{1, 2}, frozenset({3}), deque([1, 2], maxlen=3), b"\xff", range(3), 1j, Decimal("1.50")],
        "times": [datetime.timedelta(1), datetime.UTC, zoneinfo.ZoneInfo("Europe/Berlin"), Stamp(2020, 1, 1)],
        "other": [ip_network("10.0.0.0/8"), PurePosixPath("a/b")],
    }
