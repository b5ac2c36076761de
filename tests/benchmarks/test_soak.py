"""The soak makes its runs against a real server, and tells what grew."""

from pathlib import Path

import pytest

from benchmarks.soak import Row, growth, soak


def _row(memory: float, disk: float, files: int) -> Row:
    return Row(runs=1, seconds=1, memory=memory, disk=disk, files=files, event="")


def test_growth_is_told() -> None:
    assert growth(_row(100, 10, 30), _row(114, 11, 30)) == []
    assert growth(_row(100, 10, 30), _row(120, 10, 40)) == [
        "memory grew from 100.0 to 120.0",
        "files grew from 30.0 to 40.0",
    ]


async def test_every_thread_goes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    await soak(tmp_path, runs=40, threads=4, settings={"max_concurrent_runs": "8"})
    rows = capsys.readouterr().out.splitlines()
    assert [row.split()[-1] for row in rows if row.endswith("swept")] == ["swept", "swept"]
