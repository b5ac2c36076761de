"""Numbers as people write and say them, and back again."""

import math
import re

Number = int | float

ANY = "|".join
"""Makes a pattern of alternatives."""

END = r"(?u:(?![\w'’]))"
"""Where a word may end."""

SCALES = {"hundred": 2, "thousand": 3, "million": 6, "billion": 9, "trillion": 12}
"""How many zeros each has."""


def words(text: str) -> dict[str, int]:
    """Return the words of a text, each with its place."""
    return {word: at for at, word in enumerate(text.split())}


_ONES = words(
    """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
    eighteen nineteen"""
)
_TENS = words("zero ten twenty thirty forty fifty sixty seventy eighty ninety")


def spoken() -> str:
    """Return the pattern of words that may be a number."""
    small, scale = (rf"(?:{ANY(names)}){END}" for names in ([*_ONES, *_TENS], SCALES))
    return rf"(?:a(?=\s+{scale})|{small})(?:(?:(?<=ty)-|\s+)(?:{small}|{scale}(?:\s+and(?=\s+{small}))?))*"


def said(text: str) -> int | None:
    """Return the value of what `spoken` matches, in small letters; None if nobody says a number so, as "five six"."""
    parts = ["one" if word == "a" else word for word in re.split("[ -]", text) if word != "and"]
    total = part = 0
    for word in parts:
        if word == "hundred":
            part *= 100
        elif word in SCALES:
            total, part = total + part * 10 ** SCALES[word], 0
        else:
            part += _ONES[word] if word in _ONES else 10 * _TENS[word]
    return total + part if in_words(total + part).replace("-", " ") == " ".join(parts) else None


def written(text: str) -> Number | None:
    """Return the value of a number in digits, as "1,000" or "1.5 million"; None if it is too large."""
    number, *scale = text.lower().replace(",", "").split()
    value = float(number + "".join(f"e{SCALES[name]}" for name in scale))
    if math.isinf(value):
        return None
    return int(number) if number.isdigit() and not scale else value


def digits(value: Number) -> str:
    """Write a number in digits: the shortest that reads back as the same, without a fraction if it is whole."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() and abs(value) < 1e15 else str(value)


def in_words(value: int) -> str:
    """Write a whole number in English words."""
    if value < 0:
        return f"minus {in_words(-value)}"
    for name, zeros in reversed(SCALES.items()):
        many, rest = divmod(value, 10**zeros)
        if many:
            return f"{in_words(many)} {name}" + (f" {in_words(rest)}" if rest else "")
    if value < 20:
        return list(_ONES)[value]
    tens, ones = divmod(value, 10)
    return list(_TENS)[tens] + (f"-{list(_ONES)[ones]}" if ones else "")
