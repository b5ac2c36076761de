"""What requests and graphs put into the log stays in its line."""

import logging
from pathlib import Path

import httpx
import pytest

from api.app import create_app
from api.logs import Redaction, TextFormatter
from api.settings import Settings
from tests.hostile.conftest import write_config
from tests.serving import serving

FORMATTER = TextFormatter(Redaction({}))


def lines(records: list[logging.LogRecord]) -> list[str]:
    return "\n".join(map(FORMATTER.format, records)).splitlines()


async def test_a_path_cannot_begin_a_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    app = create_app(Settings(config=write_config(tmp_path)))
    async with serving(app) as url, httpx.AsyncClient(base_url=url) as http:
        answer = await http.get("/threads/%0D%0AERROR%20forged%1B%5B2J%E2%80%A8ERROR/storage")
    assert answer.status_code == 501
    written = lines(caplog.records)
    assert len(written) == len(caplog.records)
    assert any("forged" in line for line in written)
    assert "\x1b" not in "".join(written)


def test_an_exceptions_text_cannot_begin_a_line(caplog: pytest.LogCaptureFixture) -> None:
    try:
        raise ValueError("a\nERROR forged\r\nERROR forged")
    except ValueError:
        logging.getLogger("tests").exception("b\nERROR forged")
    first, *others = lines(caplog.records)
    assert first.endswith(" ERROR tests: b\\nERROR forged")
    assert all(line.startswith("    ") for line in others)
