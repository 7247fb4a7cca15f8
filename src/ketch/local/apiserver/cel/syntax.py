"""From text to a tree, by the grammar of the language definition."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, NoReturn

from ketch.local.apiserver.cel.errors import CompilationError
from ketch.local.apiserver.cel.types import UInt

LONGEST = 16 * 1024
DEEPEST = 64
RESERVED = frozenset(
    {
        *("as", "break", "const", "continue", "else", "for", "function", "if", "import", "let", "loop", "package"),
        *("namespace", "return", "var", "void", "while"),
    }
)
_TOKEN = re.compile(
    r"""(?P<space>(?:\s|//[^\n]*)+)
    | (?P<number>0x[0-9a-fA-F]+u?|(?:\d+\.\d+(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+|\d+)[uU]?)
    | (?P<text>(?:[rR][bB]?|[bB][rR]?)?(?:\"\"\"(?:\\.|(?!\"\"\").)*\"\"\"|'''(?:\\.|(?!''').)*'''))
    | (?P<raw>(?:[rR][bB]?|[bB][rR])(?:"[^"\n]*"|'[^'\n]*'))
    | (?P<string>[bB]?(?:"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'))
    | (?P<name>[A-Za-z_][A-Za-z_0-9]*)
    | (?P<escaped>`[^`\n]*`)
    | (?P<operator>&&|\|\||==|!=|<=|>=|[-+*/%!<>?:.,()\[\]{}])""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(r"\\(x[0-9A-Fa-f]{2}|X[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|[0-3][0-7]{2}|.)", re.DOTALL)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "a": "\a", "v": "\v"}
_LEVELS = (("||",), ("&&",), ("==", "!=", "<", "<=", ">", ">=", "in"), ("+", "-"), ("*", "/", "%"))
LARGEST_INTEGER = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Literal:
    """A constant."""

    position: int
    value: Any


@dataclass(frozen=True, slots=True)
class Name:
    """A variable, or the beginning of a qualified name."""

    position: int
    name: str


@dataclass(frozen=True, slots=True)
class Select:
    """``operand.field``; ``optional`` for ``.?``."""

    position: int
    operand: "Node"
    field: str
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Call:
    """A function, or a member function of ``target``; operators are functions named by their sign."""

    position: int
    name: str
    target: "Node | None"
    arguments: "tuple[Node, ...]"


@dataclass(frozen=True, slots=True)
class Items:
    """A list; ``optional`` says for each element whether it may be absent."""

    position: int
    elements: "tuple[Node, ...]"
    optional: tuple[bool, ...]


@dataclass(frozen=True, slots=True)
class Entries:
    """A map."""

    position: int
    keys: "tuple[Node, ...]"
    values: "tuple[Node, ...]"
    optional: tuple[bool, ...]


Node = Literal | Name | Select | Call | Items | Entries


class _Token(NamedTuple):
    kind: str
    text: str
    position: int


def _tokens(text: str) -> Iterator[_Token]:
    position = 0
    while position < len(text):
        found = _TOKEN.match(text, position)
        if found is None:
            raise CompilationError(text, position, f"Syntax error: token recognition error at: '{text[position]}'")
        if found.lastgroup != "space":
            yield _Token(str(found.lastgroup), found[0], position)
        position = found.end()
    yield _Token("end", "<EOF>", len(text))


def parse(text: str) -> Node:
    """The tree of an expression. Raises CompilationError."""
    if len(text) > LONGEST:
        raise CompilationError("", 0, f"expression code point size exceeds limit: size: {len(text)}, limit {LONGEST}")
    parser = _Parser(text)
    tree = parser.expression()
    parser.take("end", "<EOF>")
    return tree


class _Parser:
    """Recursive descent; levels of binary operators are climbed by table."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._all = list(_tokens(text))
        self._at = 0
        self._depth = 0

    @property
    def _now(self) -> _Token:
        return self._all[self._at]

    def _fail(self, token: _Token, why: str) -> NoReturn:
        raise CompilationError(self._text, token.position, f"Syntax error: {why}")

    def _accept(self, text: str) -> bool:
        if self._now.text == text and self._now.kind in ("operator", "name"):
            self._at += 1
            return True
        return False

    def take(self, kind: str, text: str = "") -> _Token:
        """The next token, which must be of this kind. Raises CompilationError."""
        token = self._now
        if token.kind != kind or (text and token.text != text):
            self._fail(token, f"mismatched input '{token.text}' expecting '{text or kind}'")
        self._at += 1
        return token

    def expression(self) -> Node:
        """A condition, or anything below it."""
        self._depth += 1
        if self._depth > DEEPEST:
            self._fail(self._now, f"expression recursion limit exceeded: {DEEPEST}")
        tree = self._level(0)
        if self._now.text == "?" and self._now.kind == "operator":
            position = self.take("operator").position
            chosen = self._level(0)
            self.take("operator", ":")
            tree = Call(position, "?:", None, (tree, chosen, self.expression()))
        self._depth -= 1
        return tree

    def _level(self, level: int) -> Node:
        if level == len(_LEVELS):
            return self._unary()
        tree = self._level(level + 1)
        while self._now.text in _LEVELS[level] and self._now.kind in ("operator", "name"):
            token = self._now
            self._at += 1
            tree = Call(token.position, token.text, None, (tree, self._level(level + 1)))
        return tree

    def _unary(self) -> Node:
        token = self._now
        if token.kind == "operator" and token.text in "!-":
            self._at += 1
            following = self._now
            if token.text == "-" and following.kind == "number":
                self._at += 1
                return self._members(Literal(token.position, self._number(following, negative=True)))
            self._depth += 1
            if self._depth > DEEPEST:
                self._fail(token, f"expression recursion limit exceeded: {DEEPEST}")
            tree = Call(token.position, f"{token.text}_", None, (self._unary(),))
            self._depth -= 1
            return tree
        return self._members(self._primary())

    def _members(self, tree: Node) -> Node:
        while True:
            token = self._now
            if self._accept("."):
                tree = self._member(tree, token)
            elif token.text == "{" and token.kind == "operator" and _constructed(tree):
                self._at += 1
                tree = self._message(token)
            elif self._accept("["):
                optional = self._accept("?")
                index = self.expression()
                self.take("operator", "]")
                tree = Call(token.position, "[?]" if optional else "[]", None, (tree, index))
            else:
                return tree

    def _message(self, token: _Token) -> Node:
        """The fields of an object that is made: as a map's, but for their names, which are names."""
        keys: list[Node] = []
        values: list[Node] = []
        optional: list[bool] = []
        while not self._accept("}"):
            optional.append(self._accept("?"))
            field = self._now
            name = field.text[1:-1] if field.kind == "escaped" else field.text
            if field.kind not in ("name", "escaped"):
                self._fail(field, f"mismatched input '{field.text}' expecting a field")
            self._at += 1
            keys.append(Literal(field.position, unescaped(name)))
            self.take("operator", ":")
            values.append(self.expression())
            if not self._accept(","):
                self.take("operator", "}")
                break
        return Entries(token.position, tuple(keys), tuple(values), tuple(optional))

    def _member(self, tree: Node, dot: _Token) -> Node:
        optional = self._accept("?")
        token = self._now
        if token.kind == "escaped":
            self._at += 1
            return Select(dot.position, tree, token.text[1:-1], optional)
        name = self.take("name")
        if not optional and self._accept("("):
            return Call(self._all[self._at - 1].position, name.text, tree, self._arguments())
        return Select(dot.position, tree, name.text, optional)

    def _arguments(self) -> tuple[Node, ...]:
        found: list[Node] = []
        while not self._accept(")"):
            found.append(self.expression())
            if not self._accept(","):
                self.take("operator", ")")
                break
        return tuple(found)

    def _primary(self) -> Node:
        token = self._now
        self._at += 1
        match token.kind:
            case "number":
                return Literal(token.position, self._number(token, negative=False))
            case "text" | "string" | "raw":
                return Literal(token.position, self._string(token))
            case "name":
                return self._named(token)
            case "operator" if token.text == "(":
                tree = self.expression()
                self.take("operator", ")")
                return tree
            case "operator" if token.text == "[":
                return self._list(token)
            case "operator" if token.text == "{":
                return self._map(token)
            case "operator" if token.text == ".":
                return self._primary()
            case _:
                pass
        return self._fail(token, f"mismatched input '{token.text}'")

    def _named(self, token: _Token) -> Node:
        constants = {"true": True, "false": False, "null": None}
        if token.text in constants:
            return Literal(token.position, constants[token.text])
        if token.text in RESERVED:
            self._fail(token, f"reserved identifier: {token.text}")
        if self._accept("("):
            return Call(self._all[self._at - 1].position, token.text, None, self._arguments())
        return Name(token.position, token.text)

    def _list(self, token: _Token) -> Node:
        elements: list[Node] = []
        optional: list[bool] = []
        while not self._accept("]"):
            optional.append(self._accept("?"))
            elements.append(self.expression())
            if not self._accept(","):
                self.take("operator", "]")
                break
        return Items(token.position, tuple(elements), tuple(optional))

    def _map(self, token: _Token) -> Node:
        keys: list[Node] = []
        values: list[Node] = []
        optional: list[bool] = []
        while not self._accept("}"):
            optional.append(self._accept("?"))
            keys.append(self.expression())
            self.take("operator", ":")
            values.append(self.expression())
            if not self._accept(","):
                self.take("operator", "}")
                break
        return Entries(token.position, tuple(keys), tuple(values), tuple(optional))

    def _number(self, token: _Token, *, negative: bool) -> Any:
        text, sign = token.text, -1 if negative else 1
        unsigned = text[-1] in "uU"
        digits = text[:-1] if unsigned else text
        if digits[:2] != "0x" and any(mark in digits for mark in ".eE"):
            if unsigned:
                self._fail(token, f"invalid uint literal {text}")
            return sign * float(digits)
        value = sign * int(digits, 16 if digits[:2] == "0x" else 10)
        if unsigned:
            if not 0 <= value < 2**64:
                self._fail(token, "invalid uint literal")
            return UInt(value)
        if not -LARGEST_INTEGER - 1 <= value <= LARGEST_INTEGER:
            self._fail(token, "invalid int literal")
        return value

    def _string(self, token: _Token) -> str | bytes:
        text = token.text
        prefix = text[: re.search(r"['\"]", text).start()].lower()  # pyright: ignore[reportOptionalMemberAccess]
        body = text[len(prefix) :]
        body = body[3:-3] if token.kind == "text" else body[1:-1]
        is_bytes = "b" in prefix
        if "r" not in prefix:
            body = _ESCAPE.sub(lambda found: self._escape(token, found[1], is_bytes=is_bytes), body)
        if not is_bytes:
            return body
        return b"".join(
            bytes((ord(each) - _BYTE,)) if _BYTE <= ord(each) < _BYTE + 256 else each.encode() for each in body
        )

    def _escape(self, token: _Token, text: str, *, is_bytes: bool) -> str:
        if text in _ESCAPES:
            return _ESCAPES[text]
        if text in "\\?\"'`":
            return text
        if len(text) == 1:
            self._fail(token, f"invalid escape sequence: \\{text}")
        code = int(text[1:], 16) if text[0] in "xXuU" else int(text, 8)
        if is_bytes and text[0] in "xX01234567":
            return chr(_BYTE + code)
        if code > 0x10FFFF or 0xD800 <= code < 0xE000:
            self._fail(token, f"invalid unicode code point: \\{text}")
        return chr(code)


MESSAGES = ("Object", "JSONPatch")
"""What may be made by naming it and its fields, as ``Object.spec{replicas: 3}``."""

_ESCAPED = {"__dash__": "-", "__dot__": ".", "__slash__": "/", "__underscores__": "__"}


def unescaped(name: str) -> str:
    """A field's name in JSON, of how expressions must write it."""
    if "__" not in name:
        return name
    for escape, meant in _ESCAPED.items():
        name = name.replace(escape, meant)
    if name.startswith("__") and name.endswith("__") and len(name) > 4:
        return name[2:-2]
    return name


def _constructed(tree: Node) -> bool:
    """Whether a name is that of something to be made."""
    while isinstance(tree, Select):
        tree = tree.operand
    return isinstance(tree, Name) and tree.name in MESSAGES


_BYTE = 0xF0000
"""Where escaped bytes stand, in a private plane, until the literal is encoded."""
