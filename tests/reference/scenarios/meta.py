"""About the server."""

from tests.reference.exchange import Request
from tests.reference.scenarios.requests import get, scenario

SCENARIOS = [
    scenario("meta", "ok", get("/ok")),
    scenario("meta", "nowhere", get("/nowhere"), Request("POST", "/nowhere", {})),
]
