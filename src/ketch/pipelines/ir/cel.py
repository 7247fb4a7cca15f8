"""Expressions of the Common Expression Language: as the SDK's compiler writes them, and as people do by hand.

Values, members, indices, comparisons, ``in``, logic, arithmetic, ``?:``, lists, and the functions below. No macros over
lists and no messages: a condition has no use for them; no patterns either, which could take Python for ever.

The compiler does not escape strings, neither their quotes nor their backslashes. So where a text between quotes could
be its own, a quote ends it only where an operator, a bracket or the end follows; escapes are for texts in double
quotes, which the compiler never writes.
"""

import json
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, cast

Evaluator = Callable[[Mapping[str, Any]], Any]
"""Gives the expression's value, from the variables by name."""

_REST = r"""
    | (?P<number>\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)
    | (?P<operator>==|!=|<=|>=|&&|\|\||[<>!()\[\],.?:+*/%-])
    | (?P<name>[A-Za-z_][A-Za-z_0-9]*)
    )"""
_COMPILERS = re.compile(
    r"""\s*(?:
      (?P<text>'(?P<raw>.*?)'(?=\s*(?:$|[)\]]|&&|\|\||==|!=|<|>))|"(?P<escaped>(?:[^"\\]|\\.)*)")"""
    + _REST,
    re.VERBOSE | re.DOTALL,
)
_STANDARD = re.compile(
    r"""\s*(?:
      (?P<text>r(?P<quote>['"])(?P<raw>.*?)(?P=quote)
        |'(?P<single>(?:[^'\\]|\\.)*)'|"(?P<escaped>(?:[^"\\]|\\.)*)")"""
    + _REST,
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(r"\\(u[0-9A-Fa-f]{4}|x[0-9A-Fa-f]{2}|.)", re.DOTALL)
_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "a": "\a", "v": "\v"}
_COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_CONSTANTS: Final[Mapping[str, Any]] = {"true": True, "false": False, "null": None}
_RESERVED: Final = frozenset({"in"})


class ExpressionError(ValueError):
    """The expression cannot be read, or not be evaluated with these inputs."""


class Absent(ExpressionError):
    """What the expression refers to does not exist."""


@lru_cache(maxsize=1024)
def parse(text: str) -> Evaluator:
    """The expression, ready to be evaluated. Raises ExpressionError."""
    failure: ExpressionError | None = None
    for tokens in (_COMPILERS, _STANDARD) if "\\" in text else (_STANDARD, _COMPILERS):
        try:
            return _parsed(text, tokens)
        except ExpressionError as error:
            failure = failure or error
        except RecursionError as error:
            raise ExpressionError(f"condition {text[:100]!r} cannot be read: it is nested too deeply") from error
    raise failure or ExpressionError(f"condition {text!r} cannot be read")


def _parsed(text: str, tokens: re.Pattern[str]) -> Evaluator:
    parser = _Parser(text, tokens)
    evaluator = parser.choice()
    parser.expect_end()
    return evaluator


class _Parser:
    """Recursive descent over the tokens; each method returns the evaluator of what it consumed."""

    def __init__(self, text: str, tokens: re.Pattern[str]) -> None:
        self.text, self.tokens, self.position = text, tokens, 0
        self.kind, self.token = "", ""
        self.advance()

    def advance(self) -> None:
        if not self.text[self.position :].strip():
            self.kind = self.token = ""
            return
        found = self.tokens.match(self.text, self.position)
        if found is None:
            raise self.error()
        self.position = found.end()
        groups = found.groupdict()
        if groups["text"] is not None:
            raw = groups["raw"]
            escaped = groups["escaped"] if groups["escaped"] is not None else groups.get("single")
            self.kind, self.token = "text", raw if raw is not None else _unescaped(escaped or "")
        else:
            self.kind = next(name for name in ("number", "operator", "name") if groups[name] is not None)
            self.token = groups[self.kind]

    def error(self) -> ExpressionError:
        rest = self.text[self.position :].strip()[:60] or "the end"
        return ExpressionError(f"condition {self.text!r} cannot be read near {self.token!r} before {rest!r}")

    def at(self, *symbols: str) -> bool:
        return self.kind == "operator" and self.token in symbols

    def take(self, symbol: str) -> bool:
        taken = self.at(symbol)
        if taken:
            self.advance()
        return taken

    def expect(self, symbol: str) -> None:
        if not self.take(symbol):
            raise self.error()

    def expect_end(self) -> None:
        if self.kind:
            raise self.error()

    def choice(self) -> Evaluator:
        chosen = self.disjunction()
        if not self.take("?"):
            return chosen
        first = self.choice()
        self.expect(":")
        second = self.choice()
        return lambda given: first(given) if _boolean(chosen(given)) else second(given)

    def disjunction(self) -> Evaluator:
        parts = [self.conjunction()]
        while self.take("||"):
            parts.append(self.conjunction())
        return parts[0] if len(parts) == 1 else lambda given: any(_boolean(part(given)) for part in parts)

    def conjunction(self) -> Evaluator:
        parts = [self.comparison()]
        while self.take("&&"):
            parts.append(self.comparison())
        return parts[0] if len(parts) == 1 else lambda given: all(_boolean(part(given)) for part in parts)

    def comparison(self) -> Evaluator:
        left = self.sum()
        symbol = self.token
        if self.at(*_COMPARISONS):
            self.advance()
            right = self.sum()
            return lambda given: _compare(symbol, left(given), right(given))
        if self.kind == "name" and symbol == "in":
            self.advance()
            right = self.sum()
            return lambda given: _is_in(left(given), right(given))
        return left

    def sum(self) -> Evaluator:
        value = self.product()
        while self.at("+", "-"):
            value = self.calculation(value, self.product)
        return value

    def product(self) -> Evaluator:
        value = self.unary()
        while self.at("*", "/", "%"):
            value = self.calculation(value, self.unary)
        return value

    def calculation(self, left: Evaluator, operand: Callable[[], Evaluator]) -> Evaluator:
        symbol = self.token
        self.advance()
        right = operand()
        return lambda given: _calculate(symbol, left(given), right(given))

    def unary(self) -> Evaluator:
        if self.take("!"):
            inner = self.unary()
            return lambda given: not _boolean(inner(given))
        if self.take("-"):
            inner = self.unary()
            return lambda given: _calculate("-", 0, inner(given))
        return self.member(self.primary())

    def member(self, value: Evaluator) -> Evaluator:
        while self.at(".", "["):
            value = self.index(value) if self.take("[") else self.named(value)
        return value

    def index(self, value: Evaluator) -> Evaluator:
        key = self.choice()
        self.expect("]")
        return lambda given: _item(value(given), key(given))

    def named(self, value: Evaluator) -> Evaluator:
        self.expect(".")
        name = self.token
        if self.kind != "name":
            raise self.error()
        self.advance()
        if not self.take("("):
            return lambda given: _item(value(given), name)
        arguments = self.arguments(")")
        if name not in _METHODS:
            raise self.error()
        return lambda given: _call(_METHODS[name], name, [value(given), *(each(given) for each in arguments)])

    def arguments(self, end: str) -> list[Evaluator]:
        parts: list[Evaluator] = []
        while not self.take(end):
            if parts:
                self.expect(",")
            parts.append(self.choice())
        return parts

    def primary(self) -> Evaluator:
        if self.take("("):
            inner = self.choice()
            self.expect(")")
            return inner
        if self.take("["):
            items = self.arguments("]")
            return lambda given: [item(given) for item in items]
        kind, token = self.kind, self.token
        self.advance()
        if kind == "text":
            return lambda _: token
        if kind == "number":
            number = int(token) if token.isdigit() else float(token)
            return lambda _: number
        if kind != "name" or token in _RESERVED:
            raise self.error()
        if token in _CONSTANTS:
            constant = _CONSTANTS[token]
            return lambda _: constant
        return self.function(token) if self.take("(") else lambda given: _variable(given, token)

    def function(self, name: str) -> Evaluator:
        arguments = self.arguments(")")
        if name == "has" and len(arguments) == 1:
            return lambda given: _exists(arguments[0], given)
        if name not in _FUNCTIONS or len(arguments) != 1:
            raise self.error()
        return lambda given: _call(_FUNCTIONS[name], name, [arguments[0](given)])


def _unescaped(text: str) -> str:
    def meaning(found: re.Match[str]) -> str:
        code = found[1]
        return chr(int(code[1:], 16)) if len(code) > 1 else _ESCAPES.get(code, code)

    return _ESCAPE.sub(meaning, text)


def _to_int(value: Any) -> int:
    return int(float(value)) if isinstance(value, str) else int(value)


def _to_bool(value: Any) -> bool:
    return value if isinstance(value, bool) else {"true": True, "false": False}[value]


def _contains(text: str, part: str) -> bool:
    return part in text


_FUNCTIONS: Mapping[str, Callable[[Any], Any]] = {
    "int": _to_int,
    "uint": _to_int,
    "double": float,
    "string": lambda value: value if isinstance(value, str) else json.dumps(value),
    "bool": _to_bool,
    "size": len,
    "parseJson": json.loads,
}
_METHODS: Mapping[str, Callable[..., Any]] = {
    "contains": _contains,
    "startsWith": str.startswith,
    "endsWith": str.endswith,
    "size": len,
}


def _call(function: Callable[..., Any], name: str, values: Sequence[Any]) -> Any:
    try:
        return function(*values)
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        shown = ", ".join(repr(value)[:100] for value in values)
        raise ExpressionError(f"{name}({shown}) has no value") from error


def _variable(given: Mapping[str, Any], name: str) -> Any:
    if name not in given:
        raise ExpressionError(f"there is no {name!r} in a condition: it knows {', '.join(sorted(given))}")
    return given[name]


def _item(value: Any, key: Any) -> Any:
    number = isinstance(key, (int, float)) and not isinstance(key, bool)
    if isinstance(value, Mapping):
        entries = cast("Mapping[Any, Any]", value)
        if key in entries:
            return entries[key]
        if isinstance(value, Inputs):
            raise Absent(f"the condition needs input {value.what} {key!r}, which has no value")
    elif isinstance(value, list) and number and 0 <= key < len(cast("list[Any]", value)) and key == int(key):
        return cast("list[Any]", value)[int(key)]
    raise Absent(f"there is no {key!r} in {json.dumps(value, default=str)[:200]}")


class Inputs(dict[str, Any]):
    """Inputs by name; ``what`` they are is told to who asks for one that is not there."""

    def __init__(self, what: str, values: Mapping[str, Any]) -> None:
        super().__init__(values)
        self.what = what


def _exists(value: Evaluator, given: Mapping[str, Any]) -> bool:
    try:
        value(given)
    except Absent:
        return False
    return True


def _is_in(value: Any, container: Any) -> bool:
    if not isinstance(container, (list, Mapping)):
        raise ExpressionError(f"{container!r} is neither a list nor an object: nothing is in it")
    return value in container


def _divided(left: float, right: float) -> float:
    """Integers stay integers, rounded towards zero."""
    return int(left / right) if isinstance(left, int) and isinstance(right, int) else left / right


def _remainder(left: float, right: float) -> float:
    return left - right * int(left / right)


_CALCULATIONS: Mapping[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": _divided,
    "%": _remainder,
}


def _calculate(symbol: str, left: Any, right: Any) -> Any:
    kinds = (isinstance(left, (int, float)), isinstance(right, (int, float)))
    alike = all(kinds) or (symbol == "+" and type(left) is type(right) and isinstance(left, (str, list)))
    if isinstance(left, bool) or isinstance(right, bool) or not alike:
        raise ExpressionError(f"{left!r} {symbol} {right!r} has no value")
    try:
        return _CALCULATIONS[symbol](left, right)
    except (ZeroDivisionError, OverflowError) as error:
        raise ExpressionError(f"{left!r} {symbol} {right!r} has no value") from error


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ExpressionError(f"{value!r} is neither true nor false")
    return value


def _compare(symbol: str, left: Any, right: Any) -> bool:
    if isinstance(left, bool) != isinstance(right, bool):
        if symbol in ("==", "!="):
            return symbol == "!="
        raise ExpressionError(f"{left!r} {symbol} {right!r}: these cannot be compared")
    try:
        return _COMPARISONS[symbol](left, right)
    except TypeError as error:
        raise ExpressionError(f"{left!r} {symbol} {right!r}: these cannot be compared") from error
