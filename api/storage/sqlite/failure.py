"""What a failure of SQLite is to who waited for it: which file, and whether the same may work later."""

import sqlite3

from api.errors import StorageError, StorageUnavailableError

_PASSING = frozenset(
    {
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_INTERRUPT,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PROTOCOL,
    }
)
"""What the machine does to a file. All else is about what is in it, or what was asked, and so is there again."""


def failure(exc: sqlite3.Error, file: str) -> StorageError:
    """A new error for each caller, because raising one changes it.

    Args:
        exc: what SQLite says.
        file: the name of the file.
    """
    passing = getattr(exc, "sqlite_errorcode", 0) & 0xFF in _PASSING
    error = (StorageUnavailableError if passing else StorageError)(f"The database {file} failed: {exc}.")
    error.__cause__ = exc
    return error
