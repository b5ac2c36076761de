"""Storage in one SQLite file: no service to run, nothing to lose when the process is killed."""

from api.storage.sqlite.storage import SqliteStorage

__all__ = ["SqliteStorage"]
