"""Compares vectors inside SQLite, on every Python: many are built with an sqlite3 that cannot load extensions."""

import math
import sqlite3

import numpy as np


class VectorConnection(sqlite3.Connection):
    """A connection that has, in place of the sqlite-vec extension, the one function of it that the store uses."""

    def enable_load_extension(self, enable: bool, /) -> None:
        """Nothing has to be allowed, as nothing is loaded."""

    def load_extension(self, path: str, /, *, entrypoint: str | None = None) -> None:
        """Provides `vec_distance_cosine`."""
        self.create_function("vec_distance_cosine", 2, cosine_distance, deterministic=True)


def cosine_distance(left: bytes, right: bytes) -> float:
    """1 less the cosine of the angle between two vectors of 32-bit floats; 1 if one of them is zero.

    Raises:
        ValueError: they differ in length.
    """
    a, b = np.frombuffer(left, np.float32), np.frombuffer(right, np.float32)
    lengths = math.sqrt(float(a @ a) * float(b @ b))
    return 1.0 - float(a @ b) / lengths if lengths else 1.0
