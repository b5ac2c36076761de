"""Schedules: which date comes next, and what is no schedule."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.errors import InvalidRequestError
from api.schedules import Clock, check_timezone, next_date


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
