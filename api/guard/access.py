"""Access: asks the authority on behalf of one caller."""

from typing import TYPE_CHECKING
from uuid import UUID

from api.access_filter import AccessFilter
from api.callers import Caller
from api.schemas import Json

if TYPE_CHECKING:
    from api.auth import Authority


class Access:
    """What the handlers say to one caller.

    Args:
        authority: has the handlers.
        caller: who asks.
    """

    def __init__(self, authority: "Authority", caller: Caller) -> None:
        self._authority = authority
        self.caller = caller

    @property
    def hides_tenant(self) -> bool:
        """Whether labels that handlers put in front of a namespace are kept from the caller."""
        return self._authority.hides_tenant

    async def ask(self, resource: str, action: str, value: Json) -> AccessFilter | None:
        """Which records the caller may do something to; None: to all.

        Args:
            resource: by langgraph_sdk's names, as `action`.
            action: on it.
            value: what is to be done; handlers may change it.

        Raises:
            ForbiddenError: to none.
            RefusedError: likewise, in a handler's words.
            ThreadlineError: a handler failed.
        """
        return await self._authority.authorize(self.caller, resource, action, value)


def uuid_or_text(value: str) -> UUID | str:
    """An id as handlers are given it; what is none is left for the operation to refuse."""
    try:
        return UUID(value)
    except ValueError:
        return value
