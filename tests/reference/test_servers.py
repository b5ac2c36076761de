"""A server that cannot start says why."""

from pathlib import Path

import pytest

from tests.reference.servers import threadline


def test_output_of_a_server_that_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"langgraph\.json does not exist"), threadline(tmp_path):
        pytest.fail("it started")
