"""Decodes the arguments of a final_answer call while they arrive.

A partial JSON parser would be shorter, but it begins anew with each fragment: its work grows with the square of the
answer. It also shows half an escape, or half a surrogate pair, as text that the next fragment takes back.
"""

import json
import re
from collections.abc import Callable
from typing import Any, cast

FINAL_ANSWER = "final_answer"
"""Name of the tool whose call ends a turn, and key of its other arguments in `additional_kwargs`."""

_ANSWER = "answer"
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_ESCAPES = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_HEX = re.compile(r"[0-9a-fA-F]{4}")
_SPACE = re.compile(r"[ \t\n\r]*")
_UNQUOTED = re.compile(r'[^"{}\[\],]*')
_QUOTED = re.compile(r'[^"\\]*')
_PLAIN = re.compile(r'[^"\\\ud800-\udfff]*')


class FinalAnswerError(ValueError):
    """The arguments of a final_answer call are not a JSON object with a string under "answer"."""


class FinalAnswerDecoder:
    """Decodes the arguments of one final_answer call as they arrive.

    The work is linear in the length of the arguments, however they are split. Text is decoded as JSON is, control
    characters allowed; an unpaired surrogate becomes U+FFFD, so that the text can always be encoded as UTF-8.
    Where a key is given twice, the first counts, as it has been streamed already.
    """

    def __init__(self) -> None:
        self._fragments: list[str] = []
        self._read: Callable[[str, int, list[str]], int] = self._object
        self._name: list[str] = []
        self._found = False
        self._in_string = False
        self._escaped = False
        self._depth = 0
        self._escape = ""
        self._high: int | None = None

    def feed(self, fragment: str) -> str:
        """Take the next fragment of the arguments.

        Args:
            fragment: JSON text, split anywhere.

        Returns:
            The text that it adds to the answer; may be empty.
        """
        self._fragments.append(fragment)
        out: list[str] = []
        at = 0
        while at < len(fragment):
            at = self._read(fragment, at, out)
        return "".join(out)

    def finish(self) -> dict[str, Any]:
        """Return the call's other arguments.

        Raises:
            FinalAnswerError: If the JSON is incomplete or invalid, or has no string under "answer".
        """
        try:
            arguments = json.loads("".join(self._fragments), strict=False, object_pairs_hook=_first_of_each)
            return _split(arguments)[1]
        except FinalAnswerError:
            raise
        except (ValueError, RecursionError) as error:
            raise FinalAnswerError(f"the arguments are not valid JSON: {error}") from error

    # Each reader below takes what it can from `text` at `at`, which is not its end, and returns where it stopped.

    def _object(self, text: str, at: int, out: list[str]) -> int:
        return self._expect("{", self._member, text, at)

    def _member(self, text: str, at: int, out: list[str]) -> int:
        self._name = []
        self._in_string = True
        return self._expect('"', self._member_name, text, at)

    def _member_name(self, text: str, at: int, out: list[str]) -> int:
        end = self._string(text, at)
        self._name.append(text[at:end])
        if not self._in_string:
            self._read = self._colon
        return end

    def _colon(self, text: str, at: int, out: list[str]) -> int:
        return self._expect(":", self._value, text, at)

    def _value(self, text: str, at: int, out: list[str]) -> int:
        at = _after(_SPACE, text, at)
        if at == len(text):
            return at
        self._read = self._other
        if not self._found and _is_answer(self._name):
            self._found = True
            if text[at] == '"':
                self._read = self._answer
                return at + 1
        return at

    def _other(self, text: str, at: int, out: list[str]) -> int:
        if self._in_string:
            return self._string(text, at)
        at = _after(_UNQUOTED, text, at)
        if at == len(text):
            return at
        match text[at]:
            case '"':
                self._in_string = True
            case "{" | "[":
                self._depth += 1
            case ",":
                self._read = self._other if self._depth else self._member
            case _ if self._depth:
                self._depth -= 1
            case _:
                self._read = self._rest
        return at + 1

    def _answer(self, text: str, at: int, out: list[str]) -> int:
        if self._escape:
            return self._continue_escape(text, at, out)
        end = _after(_PLAIN, text, at)
        if end > at:
            self._end_pair(out)
            out.append(text[at:end])
        if end == len(text):
            return end
        match text[end]:
            case '"':
                self._end_pair(out)
                self._read = self._other
            case "\\":
                self._escape = "\\"
            case surrogate:
                self._unit(ord(surrogate), out)
        return end + 1

    def _rest(self, text: str, at: int, out: list[str]) -> int:
        return len(text)

    def _expect(self, char: str, then: Callable[[str, int, list[str]], int], text: str, at: int) -> int:
        at = _after(_SPACE, text, at)
        if at < len(text):
            self._read = then if text[at] == char else self._rest
            at += 1
        return at

    def _string(self, text: str, at: int) -> int:
        if self._escaped:
            self._escaped = False
            return at + 1
        at = _after(_QUOTED, text, at)
        if at == len(text):
            return at
        if text[at] == "\\":
            self._escaped = True
        else:
            self._in_string = False
        return at + 1

    def _continue_escape(self, text: str, at: int, out: list[str]) -> int:
        self._escape += text[at]
        if self._escape.startswith("\\u") and len(self._escape) < 6:
            return at + 1
        escape, self._escape = self._escape[1:], ""
        if escape in _ESCAPES:
            self._unit(ord(_ESCAPES[escape]), out)
        elif _HEX.fullmatch(escape, 1):
            self._unit(int(escape[1:], 16), out)
        else:
            self._read = self._rest
        return at + 1

    def _unit(self, unit: int, out: list[str]) -> None:
        """Add one UTF-16 code unit: the halves of a pair may come as escapes or, from some servers, as they are."""
        if self._high is not None and 0xDC00 <= unit <= 0xDFFF:
            out.append(chr(0x10000 + ((self._high - 0xD800) << 10) + (unit - 0xDC00)))
            self._high = None
            return
        self._end_pair(out)
        if 0xD800 <= unit <= 0xDBFF:
            self._high = unit
        else:
            out.append(_REPLACEMENT if 0xDC00 <= unit <= 0xDFFF else chr(unit))

    def _end_pair(self, out: list[str]) -> None:
        if self._high is not None:
            out.append(_REPLACEMENT)
            self._high = None


def _after(pattern: re.Pattern[str], text: str, at: int) -> int:
    """Return where the run of a pattern's characters ends; every pattern here matches the empty run."""
    return cast("re.Match[str]", pattern.match(text, at)).end()


def _is_answer(name: list[str]) -> bool:
    try:
        return bool(json.loads('"' + "".join(name), strict=False) == _ANSWER)
    except ValueError:
        return False


def _first_of_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    first: dict[str, Any] = {}
    for key, value in pairs:
        first.setdefault(key, value)
    return first


def _split(arguments: object) -> tuple[str, dict[str, Any]]:
    """Split parsed arguments into the answer and the others."""
    if not isinstance(arguments, dict):
        raise FinalAnswerError(f"the arguments are not a JSON object but {type(arguments).__name__}")
    others = {key: value for key, value in arguments.items() if key != _ANSWER}
    answer = arguments.get(_ANSWER)
    if not isinstance(answer, str):
        raise FinalAnswerError(f'the arguments have no string under "{_ANSWER}"')
    return _well_formed(answer), cast("dict[str, Any]", _well_formed(others))


def _well_formed(value: Any) -> Any:
    """Replace unpaired surrogates, which JSON can hold and UTF-8 cannot, in every string of a JSON value."""
    match value:
        case str():
            try:
                value.encode()
            except UnicodeEncodeError:
                return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
            return value
        case dict():
            return {_well_formed(key): _well_formed(item) for key, item in value.items()}
        case list():
            return [_well_formed(item) for item in value]
        case _:
            return value


def outcome(finish: Callable[[], dict[str, Any]], *, answered: bool) -> dict[str, Any]:
    """Return what goes under `additional_kwargs["final_answer"]`: the other arguments, or why there are none."""
    try:
        return finish()
    except FinalAnswerError as error:
        return {"truncated": True} if answered else {"error": str(error)}
