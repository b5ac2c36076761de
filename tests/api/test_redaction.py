"""Redaction hides what it should, in a time that no text can stretch: who sends a text must not hold up the server."""

import time
from collections.abc import Callable

import pytest

from api.logs import Redaction
from api.redaction import LONGEST, redacted, without_secrets

SIZE, MEGABYTE = 1 << 14, 1 << 20
OPENINGS = [
    *("://", "://a:", "://a:b@", "sk-", "gho_", "xoxb-", "AKIA", "AIza", "eyJ", "eyJaaaaaaaaaa.", "eyJaaaaaaaaaa.b."),
    *("bearer ", "Basic ", "password=", "token=", "api_key=", "key=", "/", "/a/", "~/", "C:\\", "C:\\a\\", " /a"),
    *("password", "x-api-key", 'cookie"', "authorization: ", "access_token:", "bearer", "set-cookie , ", "a_", "a-"),
]
"""How what the patterns look for begins, each by itself."""
FILLINGS = [":", "@", "/", "-", ".", " ", "a", "A", "0", "=", '"', "\\"]
PATIENCE = 1.0
"""Seconds for 16 kB: a linear pattern takes hundredths of one, a quadratic one several."""
HIDERS: list[Callable[[str], str]] = [without_secrets, Redaction({})]


def seconds(hide: Callable[[str], str], text: str) -> float:
    began = time.perf_counter()
    hide(text)
    return time.perf_counter() - began


@pytest.mark.parametrize("hide", HIDERS, ids=["clients", "logs"])
@pytest.mark.parametrize("opening", OPENINGS)
def test_no_text_takes_long(hide: Callable[[str], str], opening: str) -> None:
    for filling in FILLINGS:
        for text in (opening + filling * SIZE, (opening + filling) * SIZE):
            assert seconds(hide, text[:SIZE]) < PATIENCE


@pytest.mark.parametrize(
    "unit",
    [
        *("://:", "sk-", "AKIA0", "AIza-", "eyJ-", "eyJaaaaaaaaaa.", "bearer a", "password=", " /a b", " C:\\a"),
        *("eyJ-.", "://a:@", "/ ", "/a/", "~/", "token=/", "x-api-key ", "cookie: ", "basic  "),
    ],
)
def test_a_megabyte_takes_what_it_must(unit: str) -> None:
    text = (unit * MEGABYTE)[:MEGABYTE]
    assert seconds(without_secrets, text) < 10 * PATIENCE
    assert seconds(redacted, text) < PATIENCE
    assert seconds(redacted, unit[:-1] + unit[-1] * MEGABYTE) < PATIENCE


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://user:pass@host/path", "https://[redacted]@host/path"),
        ("https://user:p@ss:word@host/path", "https://[redacted]@host/path"),
        ("redis://:pass@host", "redis://[redacted]@host"),
        ("https://host:80/a@b", "https://host:80/a@b"),
        ("my key sk-abcdefgh12 is", "my key [redacted] is"),
        ("OPENAI_sk-abcdefgh12", "OPENAI_[redacted]"),
        ("desk-abcdefgh12", "desk-abcdefgh12"),
        ("AKIA0123456789ABCDEF", "[redacted]"),
        ("Bearer abc.def-1", "Bearer [redacted]"),
        ("?api_key=abc&a=1", "?api_key=[redacted]&a=1"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.sig-1", "[redacted]"),
        ("t-eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.", "[redacted]"),
        ("open /srv/a b/key.pem now", "open [path] now"),
        (r"open C:\Users\me\key.pem", "open [path]"),
        ("~/.ssh/id_rsa", "[path]"),
        ("https://host/a/b/c and 3/4", "https://host/a/b/c and 3/4"),
    ],
)
def test_what_is_hidden_and_what_is_not(text: str, shown: str) -> None:
    assert redacted(text) == shown


def test_a_long_text_is_cut_and_no_secret_in_half(monkeypatch: pytest.MonkeyPatch) -> None:
    assert redacted("a" * LONGEST) == "a" * LONGEST
    text = redacted("ab " * MEGABYTE)
    assert text == ("ab " * MEGABYTE)[:LONGEST] + f"… ({3 * MEGABYTE} characters)"
    monkeypatch.setenv("SOME_SECRET", secret := "s3cret " * 2000)
    for before in range(LONGEST - len(secret) - 500, LONGEST + 500, 97):
        shown = redacted("x " * (before // 2) + secret + "sk-" + "q" * 2000 + " end" * 9000)
        assert "s3cret" not in shown
        assert "qqq" not in shown
