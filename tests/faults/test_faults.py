"""The fault test, quickly: `make faults` plays all kinds of faults, and each of them more often."""

import asyncio

import pytest

from tests.faults.checks import Verdict, compare
from tests.faults.clients import WIRES, FollowedRun, Frame, frames_of
from tests.faults.kinds import FAULTS, play

QUICK = ("kill -9", "SIGTERM", "kill -9 of one of two", "writes fail")
WHOLE = [Frame(1, "run", b"one"), Frame(2, "token", b"two"), Frame(3, "end", b"three")]


async def test_faults_lose_and_double_nothing() -> None:
    quick = [fault for fault in FAULTS if fault.name in QUICK]
    outcomes = await asyncio.gather(*(play(fault, seed=1, rounds=1, clients=2) for fault in quick))
    assert [outcome.name for outcome in outcomes] == list(QUICK)
    assert [(outcome.name, outcome.verdict.lost, outcome.verdict.doubled) for outcome in outcomes] == [
        (name, [], []) for name in QUICK
    ]
    assert all(outcome.runs for outcome in outcomes)
    assert sum(outcome.cuts for outcome in outcomes) > 0, "no fault struck a run"


@pytest.mark.parametrize(
    ("seen", "whole", "lost", "doubled"),
    [
        (WHOLE, WHOLE, 0, 0),
        (WHOLE[:2], WHOLE, 1, 0),
        ([*WHOLE[:2], *WHOLE[1:]], WHOLE, 0, 1),
        ([WHOLE[0], Frame(2, "token", b"other"), WHOLE[2]], WHOLE, 1, 0),
        (WHOLE[:2], WHOLE[:2], 1, 0),
        ([*WHOLE, Frame(4, "end", b"")], [*WHOLE, Frame(4, "end", b"")], 0, 1),
        ([WHOLE[0], WHOLE[2]], [WHOLE[0], WHOLE[2]], 1, 0),
    ],
)
def test_what_is_lost_or_doubled_is_found(seen: list[Frame], whole: list[Frame], lost: int, doubled: int) -> None:
    verdict = Verdict()
    compare(FollowedRun(WIRES[0], "thread", "run", seen), whole, verdict)
    assert (len(verdict.lost), len(verdict.doubled)) == (lost, doubled), verdict


def test_comments_are_no_part_of_a_frame() -> None:
    stream = b": heartbeat\n\nevent: custom\r\ndata: 1\r\nid: 1\r\n\r\n: heartbeat\n\n"
    assert frames_of(stream, WIRES[1]) == [Frame(1, "custom", b"event: custom\r\ndata: 1\r\nid: 1")]
