"""Numbers as people write and say them, and back again."""

import math
import re
from decimal import Decimal

Number = int | float

_UNITS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
_TEENS = ["ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"]
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
SCALES = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_BELOW_TWENTY = ["zero", *_UNITS, *_TEENS]
_SPOKEN_VALUES = {
    "a": 1,
    **{word: value for value, word in enumerate(_BELOW_TWENTY)},
    **{word: 10 * value for value, word in enumerate(_TENS, start=2)},
}

ANY = "|".join
"""Makes a pattern of alternatives."""

END = r"(?u:(?![\w'’]))"
"""Where a word may end."""


def spoken(between: str) -> str:
    """Return the pattern of a number in words; `between` is what may come before its last part."""
    units, below_twenty = ANY(_UNITS), ANY(_BELOW_TWENTY)
    small = rf"(?:(?:{ANY(_TENS)})(?:(?:-|\s+)(?:{units}){END})?|(?:{below_twenty}))"
    part = rf"(?:(?:{below_twenty}|a)\s+hundred(?:\s+{between}{small}{END})?|{small})"
    whole = part
    # The scales nest, the largest outermost, so that in a number they only descend.
    for scale in SCALES:
        whole = rf"(?:(?:{part}|a)\s+{scale}(?:\s+{between}{whole}{END})?|{whole})"
    return rf"{whole}(?:\s+point(?:\s+(?:zero|{units}){END})+)?"


_SCALED = re.compile(rf"(.*?)\s+({ANY(SCALES)})", re.IGNORECASE | re.DOTALL)


def written(text: str) -> Number | None:
    """Return the value of a number in digits, as "1,000" or "1.5 million"; None if it is too large."""
    scale = 1
    if scaled := _SCALED.fullmatch(text):
        text, scale = scaled[1], SCALES[scaled[2].lower()]
    text = text.replace(",", "")
    if math.isinf(float(text)):
        return None
    if scale > 1 and not text.isdigit():
        exact = Decimal(text) * scale
        return int(exact) if exact == exact.to_integral_value() else float(exact)
    return int(text) * scale if text.isdigit() else float(text)


def said(text: str) -> Number:
    """Return the value of a number in words, as `spoken` matches them, in small letters."""
    whole, _, decimals = text.partition(" point ")
    total = part = 0
    for word in re.findall(r"[a-z]+", whole):
        if word in SCALES:
            total, part = total + part * SCALES[word], 0
        elif word == "hundred":
            part *= 100
        elif word != "and":
            part += _SPOKEN_VALUES[word]
    if not decimals:
        return total + part
    return float(f"{total + part}.{''.join(str(_SPOKEN_VALUES[word]) for word in decimals.split())}")


def digits(value: Number) -> str:
    """Write a number in digits: the shortest that reads back as the same, without a fraction if it is whole."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() and abs(value) < 1e15 else str(value)


def in_words(value: int) -> str:
    """Write a whole number in English words.

    Raises:
        ValueError: If it has more than fifteen digits.
    """
    if abs(value) >= 10**15:
        raise ValueError("the number is too long for words")
    parts = ["minus"] if value < 0 else []
    rest = abs(value)
    for name, scale in reversed(SCALES.items()):
        if rest >= scale:
            parts += [_below_thousand(rest // scale), name]
            rest %= scale
    if rest or not value:
        parts.append(_below_thousand(rest))
    return " ".join(parts)


def _below_thousand(value: int) -> str:
    hundreds, rest = divmod(value, 100)
    parts = [_UNITS[hundreds - 1], "hundred"] if hundreds else []
    if rest >= 20:
        tens, units = divmod(rest, 10)
        parts.append(_TENS[tens - 2] + (f"-{_UNITS[units - 1]}" if units else ""))
    elif rest or not hundreds:
        parts.append(_BELOW_TWENTY[rest])
    return " ".join(parts)
