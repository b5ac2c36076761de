"""Makes a node or a branch of plain functions, one for each of LangGraph's two APIs.

A plain function is shorter, and LangGraph takes it. But run async, a function that waits for nothing goes to a thread,
where it may wait 5 ms for its turn while other runs are on the loop; and one that waits cannot run sync. Measured, a
short turn of plain functions costs a tenth more CPU, one of RunnableLambdas, which are traced besides, a quarter more.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from langchain_core.runnables import Runnable, RunnableConfig


class Step(Runnable[Any, Any]):
    """A function of the state and the run's config, as a node or a branch.

    Args:
        function: What is called by `invoke` and `stream`.
        asynchronous: What is awaited by their async forms; None if the function waits for nothing.
    """

    name = None

    def __init__(
        self,
        function: Callable[[Any, RunnableConfig], Any],
        asynchronous: Callable[[Any, RunnableConfig], Awaitable[Any]] | None = None,
    ) -> None:
        self._function = function
        self._asynchronous = asynchronous

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:  # noqa: A002
        """Call the function."""
        return self._function(input, config or {})

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:  # noqa: A002
        """Await the asynchronous function, or call the other here and now."""
        if self._asynchronous is None:
            return self._function(input, config or {})
        return await self._asynchronous(input, config or {})
