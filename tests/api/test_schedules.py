"""Schedules: which date comes next, and what is no schedule."""

import contextlib
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.errors import InvalidRequestError
from api.schedules import Clock, check_interval, check_timezone, next_date


@pytest.mark.parametrize(
    ("schedule", "timezone", "after", "following"),
    [
        ("*/5 * * * *", None, "2026-06-01T12:00:00", "2026-06-01T12:05:00"),
        ("*/5 * * * *", None, "2026-06-01T12:04:59.999999", "2026-06-01T12:05:00"),
        ("0 9 * * 1-5", None, "2026-06-05T09:00:00", "2026-06-08T09:00:00"),
        ("0 0 1 jan *", None, "2026-06-01T12:00:00", "2027-01-01T00:00:00"),
        ("0 0 29 2 *", None, "2026-06-01T12:00:00", "2028-02-29T00:00:00"),
        ("@hourly", None, "2026-06-01T12:00:00", "2026-06-01T13:00:00"),
        ("* * * * * */10", None, "2026-06-01T12:00:00", "2026-06-01T12:00:10"),
        ("0 9 * * *", "Europe/Zurich", "2026-06-01T00:00:00", "2026-06-01T07:00:00"),
        ("0 9 * * *", "Europe/Zurich", "2026-12-01T00:00:00", "2026-12-01T08:00:00"),
        ("0 9 * * *", "Asia/Kolkata", "2026-06-01T00:00:00", "2026-06-01T03:30:00"),
        ("30 2 * * *", "Europe/Zurich", "2026-03-28T12:00:00", "2026-03-29T01:00:00"),
    ],
)
def test_next_date(schedule: str, timezone: str | None, after: str, following: str) -> None:
    found = next_date(schedule, datetime.fromisoformat(after).replace(tzinfo=UTC), timezone)
    assert found == datetime.fromisoformat(following).replace(tzinfo=UTC)
    assert found.tzinfo is UTC


@pytest.mark.parametrize(
    ("schedule", "complaint"),
    [
        ("nonsense", "Invalid cron schedule: 'nonsense'. Reason: Invalid cron schedule. Ensure the schedule uses"),
        ("", "Invalid cron schedule: ''. Reason"),
        ("* * * *", "Invalid cron schedule"),
        ("60 * * * *", "Invalid cron schedule"),
        ("0 0 30 2 *", "Invalid cron schedule: '0 0 30 2 *'. Reason: failed to find next date"),
        ("0 0 1 1 * 0 2020", "Invalid cron schedule"),
        ("1," * 2000 + "1 * * * *", "Invalid cron schedule"),
    ],
)
def test_what_is_no_schedule(schedule: str, complaint: str) -> None:
    with pytest.raises(InvalidRequestError) as error:
        next_date(schedule, datetime(2026, 6, 1, tzinfo=UTC))
    assert error.value.message.startswith(complaint)
    assert len(error.value.message) < 2000
    assert error.value.field == "schedule"


_FIELD = st.text("0123456789*/,-?LW#hr@", min_size=1, max_size=8)


@given(
    schedule=st.one_of(st.text(max_size=30), st.lists(_FIELD, min_size=1, max_size=8).map(" ".join)),
    after=st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001  # bounds
    timezone=st.sampled_from([None, "Europe/Zurich", "America/St_Johns", "Pacific/Apia"]),
)
def test_any_text_is_a_schedule_with_a_later_date_or_refused(
    schedule: str, after: datetime, timezone: str | None
) -> None:
    try:
        assert next_date(schedule, after, timezone) > after
    except InvalidRequestError:
        return


@pytest.mark.parametrize(
    ("schedule", "zone", "after", "dates"),
    [
        ("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00", ["25 02:30 +0200", "26 02:30 +0100"]),
        ("*/30 2 * * *", "Europe/Berlin", "2026-10-24T12:00", ["25 02:00 +0200", "25 02:30 +0200", "26 02:00 +0100"]),
        ("30 * * * *", "Europe/Berlin", "2026-10-25T00:00", ["25 02:30 +0200", "25 02:30 +0100", "25 03:30 +0100"]),
        ("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00", ["29 03:00 +0200", "30 02:30 +0200"]),
        ("45 1 * * *", "Australia/Lord_Howe", "2026-04-04T00:00", ["05 01:45 +1100", "06 01:45 +1030"]),
        ("30 1 * * 0 15", "America/New_York", "2026-10-31T12:00", ["01 01:30 -0400", "08 01:30 -0500"]),
    ],
)
def test_an_hour_that_comes_twice_is_one(schedule: str, zone: str, after: str, dates: list[str]) -> None:
    at, found = datetime.fromisoformat(after).replace(tzinfo=UTC), []
    for _ in dates:
        at = next_date(schedule, at, zone)
        found.append(at.astimezone(ZoneInfo(zone)).strftime("%d %H:%M %z"))
    assert found == dates


@pytest.mark.parametrize(
    ("schedule", "least", "often"),
    [
        ("* * * * * *", 10, True),
        ("* * * * * */10", 10, False),
        ("* * * * * 0,59", 10, True),
        ("0 0 * * * 0,1", 10, True),
        ("* * * * * * 2027", 10, True),
        ("* * * * *", 10, False),
        ("* * * * *", 61, True),
        ("0 * * * *", 3600, False),
        ("0 0 1 1 * 0 2027", 3600, False),
        ("* * * * * *", 0, False),
    ],
)
def test_how_often_a_schedule_fires(schedule: str, least: float, often: bool) -> None:
    with pytest.raises(InvalidRequestError, match="more often") if often else contextlib.nullcontext():
        check_interval(schedule, datetime(2026, 6, 1, tzinfo=UTC), least)


@pytest.mark.parametrize("timezone", ["Nowhere/Land", "", "../etc", "/etc/localtime", "Europe", "\0", "x" * 5000])
def test_unknown_timezone_is_refused(timezone: str) -> None:
    with pytest.raises(InvalidRequestError, match="Invalid timezone"):
        check_timezone(timezone)


def test_known_timezone_is_accepted() -> None:
    for timezone in (None, "UTC", "Europe/Zurich"):
        check_timezone(timezone)


async def test_clock_sleeps_until_the_time_has_come() -> None:
    clock = Clock()
    for at in (clock.now() - timedelta(days=1), clock.now() + timedelta(milliseconds=5)):
        await clock.sleep_until(at)
        assert clock.now() >= at
