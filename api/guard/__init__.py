"""The guard: a Threadline as one caller may use it. Routes of every protocol get it in the Threadline's place.

    route ──> Guard.threads.get(id) ──asks──> Authority: no | yes | an AccessFilter
                       └──────────with the filter──────────> Threads.get(id, access=...)

It has an operation only if that asks first: what is not here cannot be done, and mypy holds routes to it. What a filter
rules out is answered as if it did not exist, by the operation itself. Handlers change a request's values before the
operation sees them.
"""

from typing import TYPE_CHECKING

from api.guard.access import Access
from api.guard.agents import GuardedAgents
from api.guard.assistants import GuardedAssistants
from api.guard.crons import GuardedCrons
from api.guard.runs import GuardedRunRequests, GuardedRuns
from api.guard.store_items import GuardedStoreItems
from api.guard.threads import GuardedStates, GuardedThreads
from api.guard.views import GuardedThreadStreams, GuardedViews

if TYPE_CHECKING:
    from api.app import Threadline

__all__ = ["Access", "Guard"]


class Guard:
    """What one caller may do.

    Args:
        threadline: what it is done with.
        access: asks for the caller.
    """

    def __init__(self, threadline: "Threadline", access: Access) -> None:
        self.settings = threadline.settings
        self.headers = threadline.headers
        self.metrics = threadline.metrics
        self.registry = threadline.registry
        self.assistants = GuardedAssistants(threadline, access)
        self.agents = GuardedAgents(threadline.agents, self.assistants, access)
        self.crons = GuardedCrons(threadline, access)
        self.runs = GuardedRuns(threadline, access)
        self.run_requests = GuardedRunRequests(threadline.run_requests, self.assistants)
        self.states = GuardedStates(threadline.states, access)
        self.store_items = GuardedStoreItems(threadline.store_items, access)
        self.threads = GuardedThreads(threadline.threads, access)
        self.thread_streams = GuardedThreadStreams(threadline, access)
        self.views = GuardedViews(threadline, self.runs)
