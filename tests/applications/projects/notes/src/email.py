"""The functional API with classes: as arguments and results of tasks, in what is kept, and as the answer."""

from typing import Any

from events import Author, Note, Parcel, different, taken
from holding import hold
from langgraph.func import entrypoint, task
from langgraph.types import interrupt


@task
def write(author: Author, text: str) -> Note:
    """Its result is read again from the checkpoint, after the kill and after the interrupt."""
    note = taken(text)
    note.by = author
    return note


@task
async def wrap(note: Note) -> Parcel:
    """Takes what another task gave."""
    return Parcel(note, copies=[note.by, Author(name="bob")])


@entrypoint()
async def letter(text: str, *, previous: Parcel | None = None) -> Any:
    """Writes a letter, and keeps the parcel for the next one."""
    author = Author(name="ada")
    note = await write(author, text)
    await pause()
    parcel = await wrap(note)
    answer = interrupt(parcel)
    wrong = [*different(note, taken(text)), *different(parcel.copies[0], author)]
    before = previous.note.text if previous else None
    return entrypoint.final(value={"parcel": parcel, "wrong": wrong, "answer": answer, "before": before}, save=parcel)


@task
def pause() -> None:
    """Where it is killed."""
    hold("letter")
