"""What is compared: scenarios by group."""

from tests.reference.exchange import Scenario
from tests.reference.scenarios import (
    assistants,
    crons,
    interrupts,
    meta,
    runs,
    stateless,
    states,
    store,
    streams,
    studio,
    threads,
)

_MODULES = (meta, assistants, threads, states, streams, interrupts, runs, stateless, store, crons, studio)

SCENARIOS: list[Scenario] = [each for module in _MODULES for each in module.SCENARIOS]
