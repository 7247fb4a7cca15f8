"""From a tree to a function: types are checked on the way, as far as they are declared."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple, NoReturn

from ketch.local.apiserver.cel.errors import BudgetError, CompilationError, EvaluationError
from ketch.local.apiserver.cel.functions import Overload, library
from ketch.local.apiserver.cel.functions.overloads import NAMED
from ketch.local.apiserver.cel.macros import HIDDEN, expand
from ketch.local.apiserver.cel.running import MOST_STEPS, Code, Run
from ketch.local.apiserver.cel.syntax import Call, Entries, Items, Literal, Name, Node, Select, parse, unescaped
from ketch.local.apiserver.cel.types import (
    BOOL,
    DYN,
    INT,
    NONE,
    TYPE,
    Optional,
    Type,
    joined,
    list_of,
    map_of,
    may_be,
    optional_of,
    type_name,
)
from ketch.local.apiserver.cel.values import at, has

_TYPES = frozenset(("bool", "int", "uint", "double", "string", "bytes", "list", "map", "null_type", "type"))
Functions = Mapping[tuple[str, bool], Sequence[Overload]]


class Program(NamedTuple):
    """An expression ready to run."""

    type: Type
    code: Callable[[Run], Any]
    names: frozenset[str]

    def evaluate(self, variables: Mapping[str, Any], steps: int = MOST_STEPS) -> Any:
        """The value. Raises EvaluationError."""
        try:
            return self.code(Run(dict(variables), steps))
        except RecursionError:
            raise EvaluationError("the value is nested too deeply") from None


@cache
def _standard() -> Functions:
    return library()


def compile_expression(
    text: str, variables: Mapping[str, Type], result: Type = DYN, functions: Functions | None = None
) -> Program:
    """Read and check an expression. ``result`` is what it must give; ``functions`` replaces the ordinary ones.

    ``names`` of the program are the variables that it reads. Raises CompilationError.
    """
    compiler = Compiler(text, functions or _standard())
    code = compiler.compile(parse(text), dict(variables))
    if not may_be(code.type, result):
        raise CompilationError(text, 0, f"must evaluate to {result}, got {code.type}")
    return Program(code.type, code.run, frozenset(compiler.read & set(variables)))


class Compiler:
    """Compiles one text; macros call back."""

    def __init__(self, text: str, functions: Functions) -> None:
        self._text = text
        self._functions = functions
        self.read: set[str] = set()

    def fail(self, node: Node, why: str) -> NoReturn:
        """Point at ``node``. Raises CompilationError."""
        raise CompilationError(self._text, node.position, why)

    def compile(self, node: Node, scope: dict[str, Type]) -> Code:
        """The code of a part of the tree. Raises CompilationError."""
        match node:
            case Literal():
                value = node.value
                return Code(NAMED.get(type_name(value)) or Type(type_name(value)), lambda _: value)
            case Name():
                return self._name(node, scope)
            case Select():
                return self._select(node, scope)
            case Items():
                return self._items(node, scope)
            case Entries():
                return self._entries(node, scope)
            case Call():
                return self._call(node, scope)

    def _name(self, node: Name, scope: dict[str, Type]) -> Code:
        name = node.name
        if name in scope:
            if HIDDEN.format(name) not in scope:
                self.read.add(name)
            return Code(scope[name], lambda run: run.values[name])
        if name not in _TYPES:
            self.fail(node, f"undeclared reference to '{name}' (in container '')")
        value = Type(name)
        return Code(TYPE, lambda _: value)

    # fields and elements ------------------------------------------------------------------------------------------

    def _select(self, node: Select, scope: dict[str, Type]) -> Code:
        operand = self.compile(node.operand, scope)
        inner = operand.type.parameters[0] if operand.type.name == "optional_type" else operand.type
        field, kind = self.field(node, inner)
        run = operand.run
        if node.optional or operand.type.name == "optional_type":
            return Code(optional_of(kind), lambda state: _optional_at(run(state), field))
        return Code(kind, lambda state: _field(run(state), field))

    def field(self, node: Select, inner: Type) -> tuple[str, Type]:
        """The JSON name and the type of a selected field. Raises CompilationError."""
        field = node.field
        if inner.field is not None:
            field = unescaped(field)
            found = inner.field(field)
            if found is None:
                self.fail(node, f"undefined field '{node.field}'")
            return field, found
        if inner.name == "map":
            return field, inner.parameters[1]
        if inner != DYN:
            self.fail(node, f"type '{inner}' does not support field selection")
        return field, DYN

    def _index(self, node: Call, scope: dict[str, Type], *, optional: bool) -> Code:
        container, index = (self.compile(each, scope) for each in node.arguments)
        kind = container.type
        inner = kind.parameters[0] if kind.name == "optional_type" else kind
        if inner.name == "list":
            good, found = may_be(index.type, INT) or index.type.name in ("uint", "double"), inner.parameters[0]
        elif inner.name == "map":
            good, found = may_be(index.type, inner.parameters[0]), inner.parameters[1]
        else:
            good, found = inner == DYN, DYN
        if not good:
            self._no_overload(node, "_[_]", [kind, index.type])
        take, key = container.run, index.run
        if optional or kind.name == "optional_type":
            return Code(optional_of(found), lambda state: _optional_at(take(state), key(state)))
        return Code(found, lambda state: at(take(state), key(state)))

    # literals -----------------------------------------------------------------------------------------------------

    def _items(self, node: Items, scope: dict[str, Type]) -> Code:
        parts = [self.compile(each, scope) for each in node.elements]
        kinds = [
            part.type.parameters[0] if optional and part.type.parameters else part.type
            for part, optional in zip(parts, node.optional, strict=True)
        ]
        kind = kinds[0] if kinds else DYN
        for other in kinds[1:]:
            kind = joined(kind, other)
        runs = [part.run for part in parts]
        if not any(node.optional):
            return Code(list_of(kind), lambda state: [run(state) for run in runs])
        marked = list(zip(runs, node.optional, strict=True))

        def make(state: Run) -> list[Any]:
            found: list[Any] = []
            for run, optional in marked:
                value = run(state)
                if not optional:
                    found.append(value)
                elif value.present:
                    found.append(value.value)
            return found

        return Code(list_of(kind), make)

    def _entries(self, node: Entries, scope: dict[str, Type]) -> Code:
        keys = [self.compile(each, scope) for each in node.keys]
        values = [self.compile(each, scope) for each in node.values]
        key_type = value_type = DYN
        if keys and not any(node.optional):
            key_type, value_type = keys[0].type, values[0].type
            for key, value in zip(keys[1:], values[1:], strict=True):
                key_type, value_type = joined(key_type, key.type), joined(value_type, value.type)
        entries = [
            (key.run, value.run, optional) for key, value, optional in zip(keys, values, node.optional, strict=True)
        ]

        def make(state: Run) -> dict[Any, Any]:
            found: dict[Any, Any] = {}
            for key_run, value_run, optional in entries:
                key, value = key_run(state), value_run(state)
                if isinstance(key, dict | list | float) or key is None:
                    raise EvaluationError(f"unsupported key type: {type_name(key)}")
                if key in found:
                    raise EvaluationError(f"Failed with repeated key: {key}")
                if not optional:
                    found[key] = value
                elif value.present:
                    found[key] = value.value
            return found

        return Code(map_of(key_type, value_type), make)

    # calls --------------------------------------------------------------------------------------------------------

    def _call(self, node: Call, scope: dict[str, Type]) -> Code:
        match node.name:
            case "&&" | "||":
                return self._logic(node, scope, decisive=node.name == "||")
            case "?:":
                return self._choice(node, scope)
            case "[]" | "[?]":
                return self._index(node, scope, optional=node.name == "[?]")
            case _:
                pass
        expanded = expand(self, node, scope)
        if expanded is not None:
            return expanded
        target, name = node.target, node.name
        if isinstance(target, Name) and target.name not in scope:
            qualified = f"{target.name}.{name}"
            if (qualified, False) in self._functions:
                target, name = None, qualified
        given = [*([] if target is None else [target]), *node.arguments]
        found = self._functions.get((name, target is not None), ())
        if not found:
            self.fail(node, f"undeclared reference to '{name}' (in container '')")
        parts = [self.compile(each, scope) for each in given]
        kinds = [part.type for part in parts]
        fitting = [each for each in found if each.fits(kinds)]
        if not fitting:
            self._no_overload(node, name, kinds, member=target is not None)
        return Code(_result(fitting, kinds), _caller(fitting, kinds, [part.run for part in parts]))

    def _no_overload(self, node: Node, name: str, kinds: Sequence[Type], *, member: bool = False) -> NoReturn:
        operators = {"!_", "-_", "_[_]"}
        shown = name if name in operators or name.isidentifier() or "." in name else f"_{name}_"
        listed = [str(kind) for kind in kinds]
        given = f"{listed[0]}.({', '.join(listed[1:])})" if member else f"({', '.join(listed)})"
        self.fail(node, f"found no matching overload for '{shown}' applied to '{given}'")

    def boolean(self, node: Node, scope: dict[str, Type], where: str) -> Callable[[Run], bool]:
        """The code of a part that must be true or false. Raises CompilationError."""
        code = self.compile(node, scope)
        if not may_be(code.type, BOOL):
            self.fail(node, f"expected type 'bool' but found '{code.type}' in '{where}'")
        run = code.run

        def decided(state: Run) -> bool:
            value = run(state)
            if value is not True and value is not False:
                raise EvaluationError("no such overload")
            return value

        return decided

    def _logic(self, node: Call, scope: dict[str, Type], *, decisive: bool) -> Code:
        left, right = (self.boolean(each, scope, f"_{node.name}_") for each in node.arguments)

        def decide(state: Run) -> bool:
            try:
                if left(state) is decisive:
                    return decisive
            except BudgetError:
                raise
            except EvaluationError:
                # The other side may decide alone, whichever comes first.
                if right(state) is decisive:
                    return decisive
                raise
            return right(state)

        return Code(BOOL, decide)

    def _choice(self, node: Call, scope: dict[str, Type]) -> Code:
        condition = self.boolean(node.arguments[0], scope, "_?_:_")
        chosen, other = (self.compile(each, scope) for each in node.arguments[1:])
        yes, no = chosen.run, other.run
        return Code(joined(chosen.type, other.type), lambda state: yes(state) if condition(state) else no(state))


def _field(value: Any, field: str) -> Any:
    if isinstance(value, dict) and field in value:
        return value[field]  # pyright: ignore[reportUnknownVariableType]  # JSON
    if isinstance(value, Optional):
        return _optional_at(value, field)
    if isinstance(value, Mapping):
        return at(value, field)
    raise EvaluationError(f"no such key: {field}")


def _optional_at(value: Any, key: Any) -> Optional:
    if isinstance(value, Optional):
        if not value.present:
            return NONE
        value = value.value
    return Optional(present=True, value=at(value, key)) if has(value, key) else NONE


def _result(fitting: Sequence[Overload], kinds: Sequence[Type]) -> Type:
    kind = fitting[0].result_of(kinds)
    for other in fitting[1:]:
        kind = joined(kind, other.result_of(kinds))
    return kind


def _caller(
    fitting: Sequence[Overload], kinds: Sequence[Type], parts: Sequence[Callable[[Run], Any]]
) -> Callable[[Run], Any]:
    """Calls the one overload that is certain, or chooses by the values."""
    certain = len(fitting) == 1 and all(
        wanted.name == "dyn" or (wanted.name == kind.name and DYN not in kind.parameters)
        for wanted, kind in zip(fitting[0].parameters, kinds, strict=True)
    )
    only = fitting[0].run
    if certain and len(parts) == 1:
        one = parts[0]
        return lambda state: only(one(state))
    if certain and len(parts) == 2:
        left, right = parts
        return lambda state: only(left(state), right(state))

    def choose(state: Run) -> Any:
        values = [part(state) for part in parts]
        for overload in fitting:
            if overload.takes(values):
                return overload.run(*values)
        raise EvaluationError("no such overload")

    return choose
