"""Texts: cel-go's strings library, and ``format``."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from ketch.local.apiserver.cel.errors import EvaluationError
from ketch.local.apiserver.cel.functions.overloads import Overload, function, member
from ketch.local.apiserver.cel.functions.standard import text_of
from ketch.local.apiserver.cel.types import Type

_SPACE = " \t\n\v\f\r\x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))
LONGEST = 1_000_000
"""Characters that an expression may make of a text."""

_QUOTED = {
    "\\": "\\\\",
    '"': '\\"',
    "\n": "\\n",
    "\t": "\\t",
    "\r": "\\r",
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\v": "\\v",
}


def _bounded(text: str, index: int) -> int:
    if not 0 <= index <= len(text):
        raise EvaluationError(f"index out of range: {index}")
    return index


def _char_at(text: str, index: int) -> str:
    return text[_bounded(text, index) : index + 1]


def _index_of(text: str, part: str, begin: int = 0) -> int:
    return text.find(part, _bounded(text, begin))


def _last_index_of(text: str, part: str, last: int | None = None) -> int:
    return text.rfind(part) if last is None else text.rfind(part, 0, _bounded(text, last) + len(part))


def _replace(text: str, old: str, new: str, limit: int = -1) -> str:
    count = text.count(old) if limit < 0 else min(limit, text.count(old))
    if len(text) + count * len(new) > LONGEST:
        raise EvaluationError("the text becomes too long")
    return text.replace(old, new, limit)


def _split(text: str, separator: str, limit: int = -1) -> list[str]:
    if limit == 0:
        return []
    if separator == "":
        parts = list(text)
        return parts if limit < 0 or len(parts) <= limit else [*parts[: limit - 1], "".join(parts[limit - 1 :])]
    return text.split(separator, -1 if limit < 0 else limit - 1)


def _substring(text: str, begin: int, end: int | None = None) -> str:
    last = _bounded(text, len(text) if end is None else end)
    if _bounded(text, begin) > last:
        raise EvaluationError(f"invalid substring range. start: {begin}, end: {last}")
    return text[begin:last]


def _ascii_lower(text: str) -> str:
    return "".join(each.lower() if each.isascii() else each for each in text)


def _ascii_upper(text: str) -> str:
    return "".join(each.upper() if each.isascii() else each for each in text)


def _join(items: Sequence[Any], separator: str = "") -> str:
    if not all(isinstance(item, str) for item in items):
        raise EvaluationError("no such overload")
    return separator.join(cast("Sequence[str]", items))


def _quote(text: str) -> str:
    return '"' + "".join(_QUOTED.get(each, each) for each in text) + '"'


def _shown(value: Any) -> str:
    """A value as ``%s`` shows it."""
    if value is None:
        return "null"
    if isinstance(value, Mapping):
        items = cast("Mapping[Any, Any]", value).items()
        return "{" + ", ".join(sorted(f"{_shown(key)}: {_shown(item)}" for key, item in items)) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_shown, cast("list[Any]", value))) + "]"
    if isinstance(value, Type):
        return value.name
    return text_of(value)


def _formatted(clause: str, precision: int | None, value: Any) -> str:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    match clause:
        case "s":
            return _shown(value)
        case "d" if isinstance(value, int) and number:
            return str(int(value))
        case "f" if number:
            return f"{float(value):.{6 if precision is None else precision}f}"
        case "e" if number:
            return f"{float(value):.{6 if precision is None else precision}e}"
        case "b" if isinstance(value, int):
            return f"{int(value):b}"
        case "o" if isinstance(value, int) and number:
            return f"{int(value):o}"
        case "x" | "X" if isinstance(value, int | str | bytes) and not isinstance(value, bool):
            text = (
                f"{value:x}" if isinstance(value, int) else (value.encode() if isinstance(value, str) else value).hex()
            )
            return text.upper() if clause == "X" else text
        case _:
            raise EvaluationError(f"could not match runtime type with any compatible format clause %{clause}")


def _format(template: str, values: Sequence[Any]) -> str:
    parts: list[str] = []
    position = used = 0
    while (begin := template.find("%", position)) >= 0:
        parts.append(template[position:begin])
        position = begin + 1
        if template[position : position + 1] == "%":
            parts.append("%")
            position += 1
            continue
        precision = None
        if template[position : position + 1] == ".":
            end = position + 1
            while template[end : end + 1].isdigit():
                end += 1
            precision, position = int(template[position + 1 : end] or "0"), end
            if precision > 100:
                raise EvaluationError("precision is too large")
        if used >= len(values):
            raise EvaluationError(f"index {used} out of range")
        parts.append(_formatted(template[position : position + 1], precision, values[used]))
        used, position = used + 1, position + 1
    parts.append(template[position:])
    return "".join(parts)


OVERLOADS: Sequence[Overload] = (
    member("charAt", "string, int -> string", _char_at),
    member("indexOf", "string, string -> int", _index_of),
    member("indexOf", "string, string, int -> int", _index_of),
    member("lastIndexOf", "string, string -> int", _last_index_of),
    member("lastIndexOf", "string, string, int -> int", _last_index_of),
    member("lowerAscii", "string -> string", _ascii_lower),
    member("upperAscii", "string -> string", _ascii_upper),
    member("replace", "string, string, string -> string", _replace),
    member("replace", "string, string, string, int -> string", _replace),
    member("split", "string, string -> strings", _split),
    member("split", "string, string, int -> strings", _split),
    member("substring", "string, int -> string", _substring),
    member("substring", "string, int, int -> string", _substring),
    member("trim", "string -> string", lambda text: text.strip(_SPACE)),
    member("reverse", "string -> string", lambda text: text[::-1]),
    member("join", "strings -> string", _join),
    member("join", "strings, string -> string", _join),
    member("format", "string, list -> string", _format),
    function("strings.quote", "string -> string", _quote),
)
