"""Redaction: takes paths and secrets out of a text that a client may otherwise see.

Clients, models and graphs choose these texts, so no pattern may look at a character more than a few times: where a
repetition could be tried from many beginnings, or give back what it took, it is possessive or has but one beginning.
"""

import os
import re
from collections.abc import Callable

LONGEST = 16_384
"""Characters of a text that are shown."""
_MARGIN = 4096
"""Characters that are looked at beyond those shown: what the cut leaves of a secret is not recognised, nor shown."""

_PATH = re.compile(r"(?<![\w:/.~-])(?:[A-Za-z]:\\|~?/)(?:[\w.@+ -]*[\w@+-][\\/])++[\w.@+-]*+")
"""Of a file: with two segments or more, and not what stands in a URL."""
_SECRETS = re.compile(
    r"""(?<![A-Za-z0-9])(?:sk|pk|rk|gh[opsu]|xox[abps]|lsv2|AKIA|AIza|hf|glpat)[-_][\w-]{8,}+  # as issuers begin keys
    |\bAKIA[0-9A-Z]{12,}+|\bAIza[\w-]{20,}+
    |(?<![\w-])(?>[\w-]*?eyJ)[\w-]{10,}+\.[\w-]++\.[\w-]*+                                   # JSON web tokens
    |(?<=://)[^\s/:@]*+:[^\s/]+(?=@)                                                         # credentials of a URL
    |(?i:(?<=bearer\ )|(?<=basic\ ))[\w.~+/=-]{6,}+
    |(?i:(?<=password=)|(?<=passwd=)|(?<=token=)|(?<=secret=)|(?<=api_key=)|(?<=apikey=)|(?<=key=))[^\s&'",;]++""",
    re.VERBOSE,
)
_SECRET_NAMES = re.compile(r"KEY|TOKEN|SECRET|PASSW|CREDENTIAL|(DATABASE|REDIS)_UR[IL]", re.IGNORECASE)
_SHORTEST_SECRET = 6


def redacted(text: str) -> str:
    """The text without paths of files, without what looks like a key, and without the environment's secrets.

    Of a long one the beginning: LONGEST characters, and how many there are.
    """
    known = [
        value for name, value in os.environ.items() if len(value) >= _SHORTEST_SECRET and _SECRET_NAMES.search(name)
    ]

    def hide(shown: str) -> str:
        for value in known:
            shown = shown.replace(value, "[redacted]")
        return without_secrets(shown)

    return shortened(text, hide, margin=max(map(len, known), default=0))


def without_secrets(text: str) -> str:
    """The text without paths of files and without what looks like a key, in time that is linear in its length."""
    return _PATH.sub("[path]", _SECRETS.sub("[redacted]", text))


def shortened(text: str, hide: Callable[[str], str], *, longest: int = LONGEST, margin: int = 0) -> str:
    """The beginning of a text as `hide` leaves it; cut before that, as a text may be of any length.

    Args:
        text: the text.
        hide: takes out what is not to be seen.
        longest: characters to show.
        margin: length of the longest text that `hide` knows as a whole.
    """
    if len(text) <= longest:
        return hide(text)
    margin = max(margin, _MARGIN)
    shown = hide(text[: longest + margin])[:-margin][:longest]
    return f"{shown}… ({len(text)} characters)"
