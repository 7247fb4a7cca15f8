"""Conditions and selectors: the part of CEL that the SDK's compiler writes, and what naturally surrounds it.

A condition compares ``inputs.parameter_values['x']`` with literals or each other, combined by ``&&``, ``||``, ``!`` and
parentheses, with ``int()``, ``double()`` and ``string()``. A selector is ``parseJson(string_value)["key"]``. The
compiler does not escape strings: a quote ends one only where an operator, a bracket or the end follows.
"""

import json
import operator
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, cast

Evaluator = Callable[[Mapping[str, Any]], Any]

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<text>'(?P<single>.*?)'(?=\s*(?:$|[)\]]|&&|\|\||==|!=|<|>))|"(?P<double>(?:[^"\\]|\\.)*)")
    | (?P<number>-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)
    | (?P<operator>==|!=|<=|>=|&&|\|\||[<>!()\[\]])
    | (?P<name>[A-Za-z_][A-Za-z_0-9.]*)
    )""",
    re.VERBOSE | re.DOTALL,
)
_COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_SELECTOR = re.compile(r"^\s*parseJson\(\s*string_value\s*\)((?:\[(?:\"(?:[^\"\\]|\\.)*\"|'[^']*'|\d+)\])*)\s*$")
_STEP = re.compile(r"\[(?:(\"(?:[^\"\\]|\\.)*\")|'([^']*)'|(\d+))\]")


class ExpressionError(ValueError):
    """The expression cannot be read, or not be evaluated with these inputs."""


@lru_cache(maxsize=1024)
def parse_condition(text: str) -> Evaluator:
    """A condition, ready to be evaluated over the task's input parameters. Raises ExpressionError."""
    parser = _Parser(text)
    evaluator = parser.disjunction()
    parser.expect_end()
    return evaluator


def evaluate(condition: str, parameters: Mapping[str, Any]) -> bool:
    """Whether ``condition`` holds. Raises ExpressionError, also when an input it names is absent."""
    value = parse_condition(condition)(parameters)
    if not isinstance(value, bool):
        raise ExpressionError(f"condition {condition!r} is {value!r}, neither true nor false")
    return value


@lru_cache(maxsize=1024)
def parse_selector(text: str) -> tuple[str | int, ...]:
    """The steps of ``parseJson(string_value)["a"][0]``. Raises ExpressionError."""
    found = _SELECTOR.match(text)
    if found is None:
        raise ExpressionError(f'selector {text!r} is not of the form parseJson(string_value)["key"]')
    steps: list[str | int] = []
    for step in _STEP.finditer(found[1]):
        if step[1] is not None:
            steps.append(json.loads(step[1]))
        else:
            steps.append(step[2] if step[2] is not None else int(step[3]))
    return tuple(steps)


def select(selector: str, value: Any) -> Any:
    """The part of ``value`` (or of the JSON text it is) that ``selector`` names. Raises ExpressionError."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError as error:
            raise ExpressionError(f"{selector}: {value[:100]!r} is not JSON") from error
    for step in parse_selector(selector):
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError) as error:
            raise ExpressionError(f"{selector}: there is no {step!r} in {json.dumps(value)[:200]}") from error
    return value


class _Parser:
    """Recursive descent over the tokens; each method returns the evaluator of what it consumed."""

    def __init__(self, text: str) -> None:
        self.text, self.position = text, 0
        self.kind, self.token = "", ""
        self.advance()

    def advance(self) -> None:
        if not self.text[self.position :].strip():
            self.kind = self.token = ""
            return
        found = _TOKEN.match(self.text, self.position)
        if found is None:
            raise self.error()
        self.position = found.end()
        self.kind = cast("str", found.lastgroup)
        if found["text"] is not None:
            self.kind = "text"
            single = found["single"]
            self.token = single if single is not None else cast("str", json.loads(f'"{found["double"]}"'))
        else:
            self.token = found[self.kind]

    def error(self) -> ExpressionError:
        rest = self.text[self.position :].strip()[:60] or "the end"
        return ExpressionError(f"condition {self.text!r} cannot be read near {self.token!r} before {rest!r}")

    def take(self, symbol: str) -> bool:
        if self.kind == "operator" and self.token == symbol:
            self.advance()
            return True
        return False

    def expect(self, symbol: str) -> None:
        if not self.take(symbol):
            raise self.error()

    def expect_end(self) -> None:
        if self.kind:
            raise self.error()

    def disjunction(self) -> Evaluator:
        parts = [self.conjunction()]
        while self.take("||"):
            parts.append(self.conjunction())
        return parts[0] if len(parts) == 1 else lambda inputs: any(_boolean(part(inputs)) for part in parts)

    def conjunction(self) -> Evaluator:
        parts = [self.comparison()]
        while self.take("&&"):
            parts.append(self.comparison())
        return parts[0] if len(parts) == 1 else lambda inputs: all(_boolean(part(inputs)) for part in parts)

    def comparison(self) -> Evaluator:
        left = self.unary()
        if self.kind == "operator" and self.token in _COMPARISONS:
            symbol = self.token
            self.advance()
            right = self.unary()
            return lambda inputs: _compare(symbol, left(inputs), right(inputs))
        return left

    def unary(self) -> Evaluator:
        if self.take("!"):
            inner = self.unary()
            return lambda inputs: not _boolean(inner(inputs))
        if self.take("("):
            inner = self.disjunction()
            self.expect(")")
            return inner
        return self.operand()

    def operand(self) -> Evaluator:
        kind, token = self.kind, self.token
        self.advance()
        if kind == "text":
            return lambda _: token
        if kind == "number":
            number = int(token) if re.fullmatch(r"-?\d+", token) else float(token)
            return lambda _: number
        if kind != "name":
            raise self.error()
        if token in ("true", "false", "null"):
            constant = {"true": True, "false": False}.get(token)
            return lambda _: constant
        if token in _CONVERSIONS:
            self.expect("(")
            inner = self.disjunction()
            self.expect(")")
            return lambda inputs: _convert(token, inner(inputs))
        if token == "inputs.parameter_values":  # noqa: S105  # a name of the expression language
            self.expect("[")
            name = self.token
            if self.kind != "text":
                raise self.error()
            self.advance()
            self.expect("]")
            return lambda inputs: _lookup(inputs, name)
        raise self.error()


def _to_int(value: Any) -> int:
    return int(float(value)) if isinstance(value, str) else int(value)


_CONVERSIONS: Mapping[str, Callable[[Any], Any]] = {
    "int": _to_int,
    "double": float,
    "string": lambda value: value if isinstance(value, str) else json.dumps(value),
    "bool": lambda value: value if isinstance(value, bool) else {"true": True, "false": False}[value],
}


def _convert(function: str, value: Any) -> Any:
    try:
        return _CONVERSIONS[function](value)
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise ExpressionError(f"{function}({value!r}) has no value") from error


def _lookup(inputs: Mapping[str, Any], name: str) -> Any:
    if name not in inputs:
        raise ExpressionError(f"the condition needs input parameter {name!r}, which has no value")
    return inputs[name]


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
