"""Schedules: the dates that a cron expression means, and the clock that they are compared with."""

import asyncio
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from croniter import CroniterBadDateError, croniter  # type: ignore[import-untyped]

from api.errors import InvalidRequestError

_MAX_LENGTH = 1000
_LONGEST_SLEEP = 60.0
_HOUR = 1
"""Place of the hours among the fields."""
_LEAST_OF_FIVE_FIELDS = 60.0
_FIELDS_WITH_SECONDS = 6
_DATES_LOOKED_AT = 60
_LOOKED_AHEAD = timedelta(days=2)


class TooOftenError(InvalidRequestError):
    """The schedule fires more often than is allowed."""


class Clock:
    """The time of day, and the wait for it."""

    def now(self) -> datetime:
        """The present, in UTC."""
        return datetime.now(UTC)

    async def sleep_until(self, at: datetime) -> None:
        """Returns when that time has come."""
        while (seconds := (at - self.now()).total_seconds()) > 0:  # noqa: ASYNC110  # time is no event
            # In pieces: the event loop's own clock stands still while a machine sleeps, and knows of no clock change.
            await asyncio.sleep(min(seconds, _LONGEST_SLEEP))


def next_date(schedule: str, after: datetime, timezone: str | None = None) -> datetime:
    """The first date of a schedule after a time, in UTC.

    Args:
        schedule: minute, hour, day of month, month, day of week; then, if given, second and year.
        after: any time.
        timezone: by its IANA name: what the schedule's hours are of; None is UTC.

    Raises:
        InvalidRequestError: it is no schedule, or has no such date.
    """
    if len(schedule) > _MAX_LENGTH or not croniter.is_valid(schedule):
        raise InvalidRequestError(
            f"Invalid cron schedule: '{schedule[:_MAX_LENGTH]}'. Reason: Invalid cron schedule. Ensure the schedule "
            "uses the standard cron format (minute hour day_of_month month day_of_week). Example: '*/5 * * * *' for "
            "every 5 minutes.",
            field="schedule",
        )
    zone = ZoneInfo(timezone) if timezone else UTC
    dates = croniter(schedule, after.astimezone(zone))
    at_hours = croniter.expand(schedule)[0][_HOUR] != ["*"]
    try:
        while True:
            found: datetime = dates.get_next(datetime).astimezone(UTC)
            # When summer time ends an hour comes twice: a schedule that names hours means one of them, as cron does.
            if not (at_hours and found.astimezone(zone).fold):
                return found
    except CroniterBadDateError:
        raise InvalidRequestError(
            f"Invalid cron schedule: '{schedule}'. Reason: failed to find next date", field="schedule"
        ) from None


def check_interval(schedule: str, after: datetime, least: float, timezone: str | None = None) -> None:
    """Whether a schedule leaves time between its dates, as far as the next ones tell.

    Args:
        schedule: as of `next_date`, as the others.
        after: any time.
        least: seconds.
        timezone: by its IANA name.

    Raises:
        InvalidRequestError: it does not; or it is no schedule.
    """
    if least <= _LEAST_OF_FIVE_FIELDS and len(schedule.split()) < _FIELDS_WITH_SECONDS:
        return
    try:
        dates = [next_date(schedule, after, timezone)]
        for _ in range(_DATES_LOOKED_AT):
            dates.append(next_date(schedule, dates[-1], timezone))
            if dates[-1] - dates[0] > _LOOKED_AHEAD:
                return  # rare ones take long to be found
            if (dates[-1] - dates[-2]).total_seconds() < least:
                raise TooOftenError(
                    f"The schedule '{schedule}' fires more often than every {least:g} s.", field="schedule"
                )
    except TooOftenError:
        raise
    except InvalidRequestError:
        return  # it ends


def check_timezone(timezone: str | None) -> None:
    """Whether a timezone is known here; None is.

    Raises:
        InvalidRequestError: it is not.
    """
    if timezone is None:
        return
    try:
        ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InvalidRequestError(
            f"Invalid timezone: '{timezone}'. Use IANA timezone format (e.g. 'America/New_York').", field="timezone"
        ) from None
