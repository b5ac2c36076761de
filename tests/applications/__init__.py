"""Whole projects as users write them, each served as it is by a real server, and driven by the stock SDK."""
