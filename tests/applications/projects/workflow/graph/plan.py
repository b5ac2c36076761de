"""The plan."""

from api.helper import Job


def planned(names: list[str]) -> list[Job]:
    """A job for each name."""
    return [Job(name) for name in names]
