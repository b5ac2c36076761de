"""Imported by a node alone."""

from dataclasses import dataclass


@dataclass
class Late:
    value: int
