"""The fault test: kills and starves real servers while clients use them, and prints what was lost or doubled.

    python -m tests.faults [--seed 1] [--rounds 10] [--clients 8] [--only "kill -9"]

Exits 1 if anything was.
"""

import argparse
import asyncio
import statistics
import sys

from tests.faults.kinds import FAULTS, Outcome, play

_ROW = "{:<24} {:>7} {:>6} {:>6} {:>6} {:>8} {:>18}"


def _row(outcome: Outcome) -> str:
    if outcome.skipped:
        return f"{outcome.name:<24} skipped: {outcome.skipped}"
    times = f"{statistics.median(outcome.recovered):.2f} / {max(outcome.recovered):.2f} s"
    verdict = outcome.verdict
    return _ROW.format(
        outcome.name, outcome.rounds, outcome.runs, outcome.cuts, len(verdict.lost), len(verdict.doubled), times
    )  # fmt: skip


async def main() -> int:
    """Plays, prints, and says whether all is well."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=10, help="of each fault")
    parser.add_argument("--clients", type=int, default=8, help="in each round")
    parser.add_argument("--only", action="append", help="a fault's name; may be given again")
    options = parser.parse_args()
    faults = [fault for fault in FAULTS if not options.only or fault.name in options.only]
    if not faults:
        parser.error(f"no such fault; there are {', '.join(fault.name for fault in FAULTS)}")
    print(_ROW.format("fault", "struck", "runs", "cut", "lost", "doubled", "recovered p50/max"), flush=True)
    bad = False
    for fault in faults:
        outcome = await play(fault, seed=options.seed, rounds=options.rounds, clients=options.clients)
        print(_row(outcome), flush=True)
        for problem in (*outcome.verdict.lost, *outcome.verdict.doubled):
            bad = True
            print(f"    {problem}", flush=True)
    return int(bad)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
