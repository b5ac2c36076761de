"""Redaction: takes paths and secrets out of a text that a client may otherwise see."""

import os
import re

_PATH = re.compile(r"(?<![\w:/.~-])(?:[A-Za-z]:\\|~?/)(?:[\w.@+ -]*[\w@+-][\\/])+[\w.@+-]*")
"""Of a file: with two segments or more, and not what stands in a URL."""
_SECRETS = re.compile(
    r"""\b(?:sk|pk|rk|gh[opsu]|xox[abps]|lsv2|AKIA|AIza|hf|glpat)[-_][\w-]{8,}   # keys, as their issuers begin them
    |\bAKIA[0-9A-Z]{12,}|\bAIza[\w-]{20,}
    |\beyJ[\w-]{10,}\.[\w-]+\.[\w-]*                                          # JSON web tokens
    |(?<=://)[^\s/@]+:[^\s/@]+(?=@)                                           # user and password of a URL
    |(?i:(?<=bearer\ )|(?<=basic\ ))[\w.~+/=-]{6,}
    |(?i:(?<=password=)|(?<=passwd=)|(?<=token=)|(?<=secret=)|(?<=api_key=)|(?<=apikey=)|(?<=key=))[^\s&'",;]+""",
    re.VERBOSE,
)
_SECRET_NAMES = re.compile(r"KEY|TOKEN|SECRET|PASSW|CREDENTIAL|(DATABASE|REDIS)_UR[IL]", re.IGNORECASE)
_SHORTEST_SECRET = 6


def redacted(text: str) -> str:
    """The text without paths of files, without what looks like a key, and without the environment's secrets."""
    for name, value in os.environ.items():
        if len(value) >= _SHORTEST_SECRET and _SECRET_NAMES.search(name) and value in text:
            text = text.replace(value, "[redacted]")
    return _PATH.sub("[path]", _SECRETS.sub("[redacted]", text))
