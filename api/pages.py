"""Pages: which part of what a search finds a client asks for, and in which order."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from api.schemas import Json

Limit = Annotated[int, Field(ge=1, le=1000)]
Offset = Annotated[int, Field(ge=0, le=2**53)]


class PageRequest(BaseModel):
    """The part of a search's body that all searches have; each names what it can be sorted by, and its fields."""

    model_config = ConfigDict(strict=True)

    limit: Limit = 10
    offset: Offset = 0
    sort_by: Any
    sort_order: Literal["asc", "desc"] = "desc"
    select: Sequence[str] = []

    def place(self) -> dict[str, Any]:
        """The same as the storage's searches take it: an order counts only together with what it is of."""
        return {
            "sort_by": self.sort_by,
            "descending": self.sort_order == "desc" or "sort_by" not in self.model_fields_set,
            "limit": self.limit,
            "offset": self.offset,
        }

    def selected(self, record: Json) -> Json:
        """The fields of a record that were asked for; all, if none is named."""
        return {name: record[name] for name in record if name in self.select} if self.select else record

    def headers(self, total: int) -> dict[str, str]:
        """What the answer says of itself: how many records there are in all, and where the next page begins."""
        headers = {"X-Pagination-Total": str(total)}
        if (following := self.offset + self.limit) < total:
            headers["X-Pagination-Next"] = str(following)
        return headers
