"""What looks like a call and is not: it names variables, or may not evaluate its arguments."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from ketch.local.apiserver.cel.errors import BudgetError, EvaluationError
from ketch.local.apiserver.cel.running import Code, Run
from ketch.local.apiserver.cel.syntax import Call, Name, Node, Select
from ketch.local.apiserver.cel.types import BOOL, DYN, INT, NONE, Optional, Type, list_of, map_of, optional_of
from ketch.local.apiserver.cel.values import has

if TYPE_CHECKING:
    from ketch.local.apiserver.cel.compiling import Compiler

_ABSENT = object()
HIDDEN = "@{}"
"""Marks in a scope that a variable of the expression's own hides one that was given."""


class _Loop(NamedTuple):
    """A macro that goes over a list's elements or a map's keys; ``names`` are one or two variables."""

    source: Callable[[Run], Any]
    names: tuple[str, ...]

    def each(self, run: Run) -> Iterator[tuple[Any, Any]]:
        """Binds the variables for each element; gives key and value (of a list: index and element)."""
        container, values = self.source(run), run.values
        before = {name: values.get(name, _ABSENT) for name in self.names}
        try:
            for key, item in _pairs(container):
                run.step()
                if len(self.names) == 2:
                    values[self.names[0]], values[self.names[1]] = key, item
                else:
                    values[self.names[0]] = key if isinstance(container, Mapping) else item
                yield key, item
        finally:
            for name, value in before.items():
                if value is _ABSENT:
                    values.pop(name, None)
                else:
                    values[name] = value


def _pairs(container: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(container, Mapping):
        return iter(cast("Mapping[Any, Any]", container).items())
    if isinstance(container, list | tuple):
        return enumerate(cast("Sequence[Any]", container))
    raise EvaluationError("no such overload")


def expand(compiler: "Compiler", node: Call, scope: dict[str, Type]) -> Code | None:
    """The code of a macro; None for an ordinary call. Raises CompilationError."""
    count = len(node.arguments)
    if node.target is None:
        return _has(compiler, node, scope) if node.name == "has" and count == 1 else None
    if node.name == "bind" and isinstance(node.target, Name) and node.target.name == "cel" and count == 3:
        return _bind(compiler, node, scope)
    maker = _MACROS.get((node.name, count))
    if maker is None:
        return None
    if node.name in ("optMap", "optFlatMap"):
        return maker(compiler, node, scope)
    variables = 2 if (node.name, count) in _PAIRED else 1
    names = [_variable(compiler, each) for each in node.arguments[:variables]]
    return maker(compiler, node, scope, tuple(names))


def _variable(compiler: "Compiler", node: Node) -> str:
    if not isinstance(node, Name):
        compiler.fail(node, "argument must be a simple name")
    return node.name


def _begin(
    compiler: "Compiler", node: Call, scope: dict[str, Type], names: tuple[str, ...]
) -> tuple[_Loop, dict[str, Type], Type]:
    """The loop, the scope within it, and the type of what it goes over."""
    assert node.target is not None
    source = compiler.compile(node.target, scope)
    kind = source.type
    if kind.name not in ("list", "map", "dyn"):
        why = f"expression of type '{kind}' cannot be range of a comprehension (must be list, map, or dynamic)"
        compiler.fail(node.target, why)
    if kind.name == "list":
        bound = (INT, kind.parameters[0]) if len(names) == 2 else (kind.parameters[0],)
    elif kind.name == "map":
        bound = kind.parameters if len(names) == 2 else (kind.parameters[0],)
    else:
        bound = (DYN, DYN)[: len(names)]
    return _Loop(source.run, names), _inner(scope, names, bound), kind


def _inner(scope: dict[str, Type], names: Sequence[str], kinds: Sequence[Type]) -> dict[str, Type]:
    bound = dict(zip(names, kinds, strict=True))
    return {**scope, **bound, **{HIDDEN.format(name): DYN for name in names}}


def _has(compiler: "Compiler", node: Call, scope: dict[str, Type]) -> Code:
    selected = node.arguments[0]
    if not isinstance(selected, Select):
        compiler.fail(node, "invalid argument to has() macro")
    operand = compiler.compile(selected.operand, scope)
    kind = operand.type
    inner = kind.parameters[0] if kind.name == "optional_type" else kind
    field, _ = compiler.field(selected, inner)
    run = operand.run

    def present(state: Run) -> bool:
        value = run(state)
        if isinstance(value, Optional):
            return value.present and has(value.value, field)
        return has(value, field)

    return Code(BOOL, present)


def _bind(compiler: "Compiler", node: Call, scope: dict[str, Type]) -> Code:
    name = _variable(compiler, node.arguments[0])
    given = compiler.compile(node.arguments[1], scope)
    body = compiler.compile(node.arguments[2], _inner(scope, (name,), (given.type,)))
    value = given.run
    return Code(body.type, lambda run: _with(run, name, value(run), body.run))


def _with(run: Run, name: str, value: Any, body: Callable[[Run], Any]) -> Any:
    before = run.values.get(name, _ABSENT)
    run.values[name] = value
    try:
        return body(run)
    finally:
        if before is _ABSENT:
            del run.values[name]
        else:
            run.values[name] = before


def _quantifier(decisive: bool) -> Callable[..., Code]:
    def make(compiler: "Compiler", node: Call, scope: dict[str, Type], names: tuple[str, ...]) -> Code:
        loop, inner, _ = _begin(compiler, node, scope, names)
        holds = compiler.boolean(node.arguments[-1], inner, node.name)

        def decide(run: Run) -> bool:
            failure: EvaluationError | None = None
            for _ in loop.each(run):
                try:
                    if holds(run) is decisive:
                        return decisive
                except BudgetError:
                    raise
                except EvaluationError as error:
                    failure = failure or error
            if failure is not None:
                raise failure
            return not decisive

        return Code(BOOL, decide)

    return make


def _exists_one(compiler: "Compiler", node: Call, scope: dict[str, Type], names: tuple[str, ...]) -> Code:
    loop, inner, _ = _begin(compiler, node, scope, names)
    holds = compiler.boolean(node.arguments[-1], inner, node.name)
    return Code(BOOL, lambda run: sum(holds(run) for _ in loop.each(run)) == 1)


def _filter(compiler: "Compiler", node: Call, scope: dict[str, Type], names: tuple[str, ...]) -> Code:
    loop, inner, kind = _begin(compiler, node, scope, names)
    holds = compiler.boolean(node.arguments[-1], inner, node.name)
    name = names[0]
    element = kind.parameters[0] if kind.parameters else DYN
    return Code(list_of(element), lambda run: [run.values[name] for _ in loop.each(run) if holds(run)])


def _map(compiler: "Compiler", node: Call, scope: dict[str, Type], names: tuple[str, ...]) -> Code:
    loop, inner, _ = _begin(compiler, node, scope, names)
    wanted = None
    if len(node.arguments) > len(names) + 1:
        wanted = compiler.boolean(node.arguments[-2], inner, node.name)
    made = compiler.compile(node.arguments[-1], inner)
    return Code(
        list_of(made.type), lambda run: [made.run(run) for _ in loop.each(run) if wanted is None or wanted(run)]
    )


def _transform_map(compiler: "Compiler", node: Call, scope: dict[str, Type], names: tuple[str, ...]) -> Code:
    loop, inner, kind = _begin(compiler, node, scope, names)
    wanted = None
    if len(node.arguments) > len(names) + 1:
        wanted = compiler.boolean(node.arguments[-2], inner, node.name)
    made = compiler.compile(node.arguments[-1], inner)
    key_type = kind.parameters[0] if kind.name == "map" else INT

    def make(run: Run) -> dict[Any, Any]:
        return {key: made.run(run) for key, _ in loop.each(run) if wanted is None or wanted(run)}

    return Code(map_of(key_type, made.type), make)


def _opt_map(compiler: "Compiler", node: Call, scope: dict[str, Type]) -> Code:
    assert node.target is not None
    name = _variable(compiler, node.arguments[0])
    source = compiler.compile(node.target, scope)
    inner = source.type.parameters[0] if source.type.name == "optional_type" else DYN
    made = compiler.compile(node.arguments[1], _inner(scope, (name,), (inner,)))
    flat = node.name == "optFlatMap"

    def make(run: Run) -> Optional:
        optional = source.run(run)
        if not isinstance(optional, Optional):
            raise EvaluationError("no such overload")
        if not optional.present:
            return NONE
        value = _with(run, name, optional.value, made.run)
        return value if flat else Optional(present=True, value=value)

    return Code(made.type if flat else optional_of(made.type), make)


_MACROS: Mapping[tuple[str, int], Callable[..., Code]] = {
    ("all", 2): _quantifier(decisive=False),
    ("all", 3): _quantifier(decisive=False),
    ("exists", 2): _quantifier(decisive=True),
    ("exists", 3): _quantifier(decisive=True),
    ("exists_one", 2): _exists_one,
    ("existsOne", 2): _exists_one,
    ("existsOne", 3): _exists_one,
    ("filter", 2): _filter,
    ("map", 2): _map,
    ("map", 3): _map,
    ("transformList", 3): _map,
    ("transformList", 4): _map,
    ("transformMap", 3): _transform_map,
    ("transformMap", 4): _transform_map,
    ("optMap", 2): _opt_map,
    ("optFlatMap", 2): _opt_map,
}
_PAIRED = frozenset(
    {("all", 3), ("exists", 3), ("existsOne", 3)}
    | {(name, count) for name in ("transformList", "transformMap") for count in (3, 4)}
)
