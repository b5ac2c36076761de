"""Descriptors: how many files and sockets this process may have open, and what of them connections and runs may take.

    soft limit ──raised, as far as the hard one lets──> what the server itself needs | connections | runs | spare

A server that runs out of them fails what it has acknowledged: runs cannot reach their models, the storage cannot open a
file. So what is not there is refused at the door.
"""

import logging
import resource
from dataclasses import dataclass

from api.errors import ConfigError
from api.settings import Settings

logger = logging.getLogger(__name__)

_OWN = 64
"""Databases, their logs, pipes to other processes, what the event loop has; about half of it is in use when idle."""
_OF_A_RUN = 2
"""A connection to a model and one to whatever a tool asks."""
_BACKLOG = 2048
_MODEST = 4096
"""With fewer, a server is told of what it cannot have, though it did not ask for it."""


@dataclass(frozen=True)
class Descriptors:
    """What this process may have open at one time."""

    connections: int
    runs: int
    spare: int
    """Connections beyond the limit that are there only to be refused."""

    @property
    def backlog(self) -> int:
        """Connections that are accepted at one time: all of them take a descriptor before the first can be refused."""
        return min(_BACKLOG, self.spare)


def share(settings: Settings) -> Descriptors:
    """Raises the soft limit if need be, and shares out what there is.

    Args:
        settings: `max_connections` and `max_concurrent_runs` are lowered to what there is room for.

    Raises:
        ConfigError: there are too few to serve anybody.
    """
    wanted = 2 * _OWN + settings.max_connections + _OF_A_RUN * settings.max_concurrent_runs + _BACKLOG
    limit = _raised(wanted)
    shares = _shares(limit, settings)
    for name, given in (("max_connections", shares.connections), ("max_concurrent_runs", shares.runs)):
        asked = getattr(settings, name)
        if given < asked:
            if limit < _MODEST or name in settings.model_fields_set:
                complaint = "only %d files and sockets may be open (ulimit -n): THREADLINE_%s is %d here, not %d"
                logger.warning(complaint, limit, name.upper(), given, asked)
            setattr(settings, name, given)
    return shares


def _shares(limit: int, settings: Settings) -> Descriptors:
    room = limit - _OWN
    if room < _OWN // 4:
        raise ConfigError(f"Only {limit} files and sockets may be open (ulimit -n): a server needs {_OWN + _OWN // 4}.")
    runs = min(settings.max_concurrent_runs, max(1, room // 4 // _OF_A_RUN))
    spare = max(1, min(_BACKLOG, room // 8))
    left = room - _OF_A_RUN * runs - spare - _OWN
    return Descriptors(min(settings.max_connections, max(room // 2, left)), runs, spare)


def _raised(wanted: int) -> int:
    """The soft limit, raised to what is wanted as far as the hard one lets."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return wanted
    if soft < wanted:
        possible = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (possible, hard))
        except (OSError, ValueError) as exc:
            logger.warning("the limit of open files stays %d: %s", soft, exc)
        else:
            soft = possible
    return soft
