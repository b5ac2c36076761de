"""Measures the service beside a bare server and `langgraph dev`, on one machine in one run: one table of ratios.

python -m benchmarks.service [--quick] [--only NAME]

start ──> replay ──> disk ──> idle ──> hostile ──> streaming ──> tracing ──> peer ──> table
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import uvloop

from benchmarks import disk, hostile, idle, peer, processes, replay, start, streaming, tracing
from benchmarks.figures import Figure, table
from benchmarks.load import LoadError

Measure = Callable[..., Awaitable[list[Figure]]]

BENCHMARKS: dict[str, Measure] = {
    "start": start.measure,
    "replay": replay.measure,
    "disk": disk.measure,
    "idle": idle.measure,
    "hostile": hostile.measure,
    "streaming": streaming.measure,
    "tracing": tracing.measure,
    "peer": peer.measure,
}

_SECONDS = 480.0
_QUICK_SECONDS = 150.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the benchmarks; returns the exit code: 0 if every target is met.

    Args:
        arguments: of the command line; None takes those of the process.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks.service", description="Benchmarks of the service.")
    parser.add_argument("--quick", action="store_true", help="fewer rounds: a minute in place of five")
    parser.add_argument("--only", action="append", choices=BENCHMARKS, help="just this one; may be given again")
    options = parser.parse_args(arguments)
    processes.raise_open_files()
    figures, failures = uvloop.run(_run(options.only or list(BENCHMARKS), quick=options.quick))
    print(table(figures))
    for failure in failures:
        print(failure, file=sys.stderr)
    return 1 if failures or any(figure.met is False for figure in figures) else 0


async def _run(names: Sequence[str], *, quick: bool) -> tuple[list[Figure], list[str]]:
    """All that was measured within the time, and what could not be."""
    figures: list[Figure] = []
    failures: list[str] = []
    deadline = asyncio.get_running_loop().time() + (_QUICK_SECONDS if quick else _SECONDS)
    for name in names:
        began = time.perf_counter()
        try:
            async with asyncio.timeout_at(deadline):
                with tempfile.TemporaryDirectory(prefix="threadline-") as folder:
                    figures += await BENCHMARKS[name](Path(folder), quick=quick)
        except TimeoutError:
            failures.append(f"{name}: not done in time")
        except (LoadError, OSError) as error:
            failures.append(f"{name}: {error}")
        print(f"{name}: {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
    return figures, failures


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
