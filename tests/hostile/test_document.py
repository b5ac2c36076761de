"""The OpenAPI document is complete, and no request that it describes, or forbids, makes the server fail.

operation of the document ──schemathesis──> requests, fitting and not ──> a real server ──> an answer that is documented
"""

import copy
import os
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis import Case, CheckContext, GenerationMode, Response
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from api.app import create_app
from tests.hostile.conftest import Serve

pytestmark = pytest.mark.filterwarnings("ignore::hypothesis.errors.HypothesisDeprecationWarning")
"""What schemathesis calls, and not we."""
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "2"))
"""Requests for each operation and each way of making them; `make fuzz` makes many more."""
SEED = int(os.environ.get("FUZZ_SEED", "1"))
_SECONDS = 20.0
"""What an answer may take."""

DOCUMENT = create_app().openapi()
OPERATIONS = [(path, method) for path, item in DOCUMENT["paths"].items() for method in item]


def no_server_error(_: CheckContext, response: Response, __: Case) -> None:
    """Only what is known and not supported may be answered with a status of that kind."""
    assert response.status_code < 500 or response.status_code == 501, response.text


CHECKS = [no_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


def test_references_lead_somewhere() -> None:
    wanted = set(re.findall(r"#/components/schemas/([^'\"]+)", str(DOCUMENT)))
    assert wanted <= set(DOCUMENT["components"]["schemas"])


def test_every_operation_is_described() -> None:
    names = [operation["operationId"] for item in DOCUMENT["paths"].values() for operation in item.values()]
    assert len(set(names)) == len(names)
    for path, method in OPERATIONS:
        operation = DOCUMENT["paths"][path][method]
        assert operation["description"], path
        assert operation["tags"], path
        assert set(re.findall(r"{(\w+)}", path)) == {
            parameter["name"] for parameter in operation.get("parameters", ()) if parameter["in"] == "path"
        }
        success = [answer for status, answer in operation["responses"].items() if status.startswith("2")]
        assert success, path
        assert path == "/ok" or "429" in operation["responses"], path


class Target:
    """A server with something of everything, whose ids take the place of every other invented one."""

    def __init__(self, url: str) -> None:
        self.url = url
        with httpx.Client(base_url=url) as client:
            thread = client.post("/threads", json={"metadata": {"a": 1}}).raise_for_status().json()
            run = {"assistant_id": "counting", "input": {"count": 1}}
            path = f"/threads/{thread['thread_id']}/runs"
            client.post(f"{path}/wait", json=run).raise_for_status()
            made = client.get(path).raise_for_status().json()[0]
            cron = client.post("/runs/crons", json={**run, "schedule": "0 0 1 1 *"}).raise_for_status().json()
        self.ids = {
            "thread_id": thread["thread_id"],
            "run_id": made["run_id"],
            "assistant_id": "counting",
            "cron_id": cron["cron_id"],
        }

    def aim(self, case: Case, number: int) -> None:
        """Lets every other request meet something that is there."""
        if case.path_parameters and number % 2:
            known = self.ids | {"assistant_id": made_id(self.url)} if "/assistants" in case.path else self.ids
            case.path_parameters.update({name: known[name] for name in case.path_parameters if name in known})
        if isinstance(case.body, dict):
            if "assistant_id" in case.body and number % 3:
                case.body["assistant_id"] = "counting"
            # A run that is to begin in years is waited for that long, as its client asked.
            if isinstance(case.body.get("after_seconds"), int | float):
                case.body["after_seconds"] = 0


def made_id(url: str) -> str:
    """Of a fresh assistant: one that is deleted is not missed."""
    answer = httpx.post(f"{url}/assistants", json={"graph_id": "counting"})
    return str(answer.raise_for_status().json()["assistant_id"])


@pytest.fixture(scope="module")
def target(serve_in_thread: Serve) -> Iterator[Target]:
    with serve_in_thread() as url:
        yield Target(url)


@pytest.fixture(scope="module")
def schema(target: Target) -> Any:
    described = copy.deepcopy(DOCUMENT)
    for path, method in OPERATIONS:
        for parameter in described["paths"][path][method].get("parameters", ()):
            if parameter["in"] == "path" and "format" not in parameter["schema"]:
                # Any text would fit, so that nothing unfitting could be made up.
                parameter["schema"] = {"enum": ["counting", "unknown"]}
    loaded = schemathesis.openapi.from_dict(described)
    loaded.config.update(base_url=target.url)
    return loaded


def kinds_of_requests() -> Iterator[Any]:
    """Every operation with requests that fit and, if it takes anything that could be wrong, with others."""
    for path, method in OPERATIONS:
        operation = DOCUMENT["paths"][path][method]
        yield pytest.param(path, method, GenerationMode.POSITIVE, id=f"{method} {path}")
        if operation.get("parameters") or "requestBody" in operation:
            yield pytest.param(path, method, GenerationMode.NEGATIVE, id=f"{method} {path} unfitting")


@pytest.mark.parametrize(("path", "method", "mode"), list(kinds_of_requests()))
def test_no_request_makes_the_server_fail(
    schema: Any, target: Target, path: str, method: str, mode: GenerationMode
) -> None:
    operation = schema[path][method.upper()]
    numbers = iter(range(1 << 30))

    @seed(SEED)
    @settings(
        max_examples=EXAMPLES,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def requests(case: Case) -> None:
        target.aim(case, next(numbers))
        case.call_and_validate(checks=CHECKS, timeout=_SECONDS)

    requests()
