"""Expressions: what they give, and what is wrong with them."""

from typing import Any

import pytest

from ketch.local.apiserver.cel import (
    BOOL,
    DYN,
    INT,
    STRING,
    BudgetError,
    CompilationError,
    EvaluationError,
    compile_expression,
    list_of,
    map_of,
    object_of,
)

SELF: dict[str, Any] = {
    "name": "web",
    "replicas": 3,
    "ratio": 0.5,
    "on": True,
    "none": None,
    "tags": ["b", "a", "c"],
    "ports": [{"name": "http", "port": 80}, {"name": "https", "port": 443}],
    "labels": {"app": "web", "tier": "front"},
    "memory": "1Gi",
}


def value(text: str, **variables: Any) -> Any:
    given = {"self": SELF, **variables}
    return compile_expression(text, dict.fromkeys(given, DYN)).evaluate(given)


TRUE = [
    "1 + 2 * 3 == 7 && (1 + 2) * 3 == 9",
    "7 / 2 == 3 && -7 / 2 == -3 && -7 % 3 == -1 && 7.0 / 2.0 == 3.5",
    "1 == 1.0 && 1u == 1 && 1 < 1.5 && 2u > 1",
    "true != 1 && [true] != [1] && null == null",
    "-9223372036854775808 < 0 && 0x10 == 16 && 1e3 == 1000.0 && .5 == 0.5",
    "'a' + \"b\" == 'ab' && r'\\d' == '\\\\d' && 'A' == '\\x41' && '''a'b''' == \"a'b\"",
    "b'abc' == bytes('abc') && size(b'\\xff') == 1 && string(b'abc') == 'abc'",
    "size('é') == 1 && size([1, 2]) == 2 && {'a': 1}.size() == 1",
    "self.name == 'web' && self['name'] == 'web' && self.ports[1].port == 443",
    "has(self.name) && !has(self.missing) && has(self.ports[0].name)",
    "'b' in self.tags && 'app' in self.labels && !(1 in ['a'])",
    "self.replicas > 2 ? self.on : self.missing",
    "self.missing == 1 || true",
    "true || self.missing == 1",
    "!(false && self.missing == 1) && !(self.missing == 1 && false)",
    "self.tags.all(t, size(t) == 1) && self.labels.all(k, k.size() > 2)",
    "self.ports.exists(p, p.port == 443) && self.ports.exists_one(p, p.name == 'http')",
    "self.ports.map(p, p.port) == [80, 443] && self.ports.map(p, p.port > 80, p.name) == ['https']",
    "self.ports.filter(p, p.port < 100).size() == 1",
    "self.tags.exists(t, t == 'b' || self.missing)",
    "[1, 2, 3].all(i, v, i + 1 == v) && {'a': 1}.exists(k, v, k == 'a' && v == 1)",
    "[1, 2].transformList(i, v, i * v) == [0, 2] && {'a': 1}.transformMap(k, v, v + 1) == {'a': 2}",
    "[1, 2, 3].transformList(i, v, i > 0, v) == [2, 3] && ['a'].existsOne(i, v, v == 'a')",
    "cel.bind(x, self.replicas + 1, x * x) == 16",
    "self.?missing.orValue('d') == 'd' && self.?name.value() == 'web' && !self.?a.b.c.hasValue()",
    "self.tags[?9].orValue('none') == 'none' && self.labels[?'app'].hasValue()",
    "optional.of(1).optMap(x, x + 1).value() == 2 && optional.none().or(optional.of(3)).value() == 3",
    "optional.of(1).optFlatMap(x, optional.of(x)).hasValue() && !optional.ofNonZeroValue('').hasValue()",
    "[?self.?missing, ?self.?name] == ['web'] && {?'a': self.?missing} == {}",
    "type(1) == int && type('a') == string && type(type(1)) == type && type([]) == list",
    "int('12') == 12 && uint(3) == 3u && double('1.5') == 1.5 && string(1.0) == '1' && int(2.9) == 2",
    "string(true) == 'true' && bool('true') && dyn(1) == 1",
    "timestamp('2026-01-02T03:04:05Z').getFullYear() == 2026 && timestamp('2026-01-02T03:04:05Z').getMonth() == 0",
    "timestamp('2026-01-01T00:00:00Z') + duration('1h30m') > timestamp('2026-01-01T01:00:00Z')",
    "timestamp('2026-01-02T00:00:00Z') - timestamp('2026-01-01T00:00:00Z') == duration('24h')",
    "duration('90s').getMinutes() == 1 && string(duration('1.5s')) == '1.5s'",
    "timestamp('2026-01-01T00:30:00Z').getHours('+02:00') == 2",
    "'hello'.startsWith('he') && 'hello'.endsWith('lo') && 'hello'.contains('ell') && 'hello'.matches('^h.*o$')",
    "'a,b,c'.split(',') == ['a', 'b', 'c'] && 'a,b,c'.split(',', 2) == ['a', 'b,c']",
    "['a', 'b'].join('-') == 'a-b' && 'Abc'.lowerAscii() == 'abc' && ' a '.trim() == 'a'",
    "'hello'.substring(1, 3) == 'el' && 'hello'.indexOf('l') == 2 && 'hello'.lastIndexOf('l') == 3",
    "'aaa'.replace('a', 'b', 2) == 'bba' && 'abc'.charAt(1) == 'b' && 'abc'.reverse() == 'cba'",
    "'%s is %d (%.1f%%)'.format(['x', 3, 2.5]) == 'x is 3 (2.5%)' && '%x'.format([255]) == 'ff'",
    "strings.quote('a\"b') == '\"a\\\\\"b\"'",
    "'abc 123'.find('[0-9]+') == '123' && '1 2 3'.findAll('[0-9]') == ['1', '2', '3']",
    "'1 2 3'.findAll('[0-9]', 2) == ['1', '2']",
    "[1, 2, 3].isSorted() && !self.tags.isSorted() && [1, 2].sum() == 3 && [3, 1].min() == 1 && [3, 1].max() == 3",
    "['a', 'b', 'a'].indexOf('a') == 0 && ['a', 'b', 'a'].lastIndexOf('a') == 2",
    "sets.contains([1, 2], [2]) && sets.equivalent([1, 2], [2, 1, 1]) && sets.intersects([1], [1, 2])",
    "quantity(self.memory).isGreaterThan(quantity('1000Mi')) && quantity('200M').compareTo(quantity('0.2G')) == 0",
    "quantity('50k').asInteger() == 50000 && quantity('1.5').isInteger() == false && isQuantity('1.3Gi')",
    "quantity('1Gi').add(quantity('1Gi')).compareTo(quantity('2Gi')) == 0 && quantity('-1').sign() == -1",
    "!isQuantity('1 Gi') && quantity('10').sub(3).asInteger() == 7",
    "quantity('1.5').asApproximateFloat() == 1.5",
    "isURL('https://example.com:80/a?b=c') && !isURL('../a')",
    "url('https://example.com/a').getHost() == 'example.com'",
    "url('https://u@example.com:80/a b'.replace(' ', '%20')).getPort() == '80'",
    "url('https://[::1]:80/').getHostname() == '::1' && url('https://a/b?c=d').getQuery() == {'c': ['d']}",
    "isIP('::1') && !isIP('1.2.3') && ip('127.0.0.1').isLoopback() && ip('::1').family() == 6",
    "ip.isCanonical('2001:db8::1') && !ip.isCanonical('2001:DB8::1') && string(ip('10.0.0.1')) == '10.0.0.1'",
    "cidr('10.0.0.0/8').containsIP('10.1.2.3') && !cidr('10.0.0.0/8').containsIP(ip('11.0.0.1'))",
    "cidr('10.0.0.0/8').containsCIDR('10.1.0.0/16') && cidr('10.1.2.3/8').masked() == cidr('10.0.0.0/8')",
    "cidr('10.0.0.0/8').prefixLength() == 8 && isCIDR('::/0') && !isCIDR('10.0.0.0/33')",
    "!format.dns1123Label().validate('web').hasValue() && format.dns1123Label().validate('Web').hasValue()",
    "format.named('uuid').value().validate('x').value().size() == 1 && !format.named('none').hasValue()",
    "semver('1.2.3').isLessThan(semver('1.10.0')) && semver('1.0.0-rc.1').isLessThan(semver('1.0.0'))",
    "isSemver('1.0.0') && !isSemver('v1.0') && semver('v1.0', true).minor() == 0",
    "'ab'.matches('(a+)+$') == false",
    "{'a': 1, 'b': [1, {'c': null}]} == {'b': [1.0, {'c': null}], 'a': 1u}",
    "[[1], [2]].map(x, x[0]).map(y, y + 1) == [2, 3]",
    "[1].all(x, [2].all(x, x == 2) && x == 1) // a comment",
]  # fmt: skip


@pytest.mark.parametrize("text", TRUE)
def test_an_expression_holds(text: str) -> None:
    assert value(text) is True


@pytest.mark.parametrize(
    ("text", "why"),
    [
        pytest.param("self.missing", "no such key: missing", id="a field that is not there"),
        pytest.param("self.tags[9]", "index out of bounds: 9", id="an index that is not there"),
        pytest.param("1 / 0", "division by zero", id="division by zero"),
        pytest.param("9223372036854775807 + 1", "integer overflow", id="a number beyond 64 bits"),
        pytest.param("1u - 2u", "unsigned integer overflow", id="an unsigned number below zero"),
        pytest.param("self.name + self.replicas", "no such overload", id="values that do not go together"),
        pytest.param("self.name && true", "no such overload", id="a text is no truth"),
        pytest.param("'a'.matches('(')", "error parsing regexp", id="a pattern that is none"),
        pytest.param("quantity('x')", "quantities must match", id="a quantity that is none"),
        pytest.param("ip('x')", "parse error", id="an address that is none"),
        pytest.param("[].min()", "min called on empty list", id="the least of nothing"),
        pytest.param("optional.none().value()", "dereference", id="the value of nothing"),
        pytest.param("duration('1x')", "invalid duration", id="a duration that is none"),
        pytest.param("timestamp('yesterday')", "type conversion error", id="a time that is none"),
        pytest.param("{'a': 1, 'a': 2}", "repeated key", id="a key said twice"),
        pytest.param("'%d'.format(['a'])", "%d", id="a text is no number"),
    ],
)
def test_an_expression_that_has_no_value(text: str, why: str) -> None:
    with pytest.raises(EvaluationError, match=why.replace("(", r"\(")):
        value(text)


FIELDS = {"name": STRING, "replicas": INT, "tags": list_of(STRING), "labels": map_of(STRING, STRING), "a-b": INT}
TYPED = {"self": object_of("object", FIELDS.get), "on": BOOL}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        pytest.param("other == 1", "undeclared reference to 'other'", id="a name that is not declared"),
        pytest.param("self.nme == 'a'", "undefined field 'nme'", id="a field that the object has not"),
        pytest.param("has(self.nme)", "undefined field 'nme'", id="has asks for fields that may be"),
        pytest.param("self.name + 1", "no matching overload for '_+_' applied to '(string, int)'", id="operands"),
        pytest.param("self.tags.all(t, t > 1)", "applied to '(string, int)'", id="operands within a macro"),
        pytest.param("self.name.all(t, true)", "cannot be range of a comprehension", id="a text is no list"),
        pytest.param("self.name.foo()", "undeclared reference to 'foo'", id="a function that is not there"),
        pytest.param("self.replicas.startsWith('a')", "applied to 'int.(string)'", id="a function of another type"),
        pytest.param("self.replicas ? 1 : 2", "expected type 'bool' but found 'int'", id="a number is no truth"),
        pytest.param("self.tags['a']", "applied to '(list(string), string)'", id="a list is indexed by numbers"),
        pytest.param("self.name == ", "Syntax error", id="an end too soon"),
        pytest.param("self.name ===  1", "Syntax error", id="an operator too many"),
        pytest.param("'abc", "token recognition error", id="a text without end"),
        pytest.param("self.for == 1", "undefined field 'for'", id="a reserved word"),
        pytest.param("for == 1", "reserved identifier: for", id="a reserved name"),
        pytest.param("[1].all(1, true)", "argument must be a simple name", id="a macro's variable is a name"),
        pytest.param("9223372036854775808", "invalid int literal", id="a literal beyond 64 bits"),
        pytest.param("(" * 100 + "1" + ")" * 100, "recursion limit", id="too deep"),
        pytest.param("'" + "a" * 20_000 + "'", "size exceeds limit", id="too long"),
    ],
)  # fmt: skip
def test_an_expression_that_cannot_be(text: str, why: str) -> None:
    with pytest.raises(CompilationError) as caught:
        compile_expression(text, TYPED)
    assert why in str(caught.value)


def test_the_message_points_at_the_place() -> None:
    with pytest.raises(CompilationError) as caught:
        compile_expression("on &&\n  self.nme == 'a'", TYPED)
    assert str(caught.value) == "ERROR: <input>:2:7: undefined field 'nme'\n |   self.nme == 'a'\n | ......^"


def test_what_must_be_given() -> None:
    with pytest.raises(CompilationError, match="must evaluate to bool, got string"):
        compile_expression("self.name", TYPED, BOOL)
    assert compile_expression("self.a__dash__b == 1", TYPED, BOOL).evaluate({"self": {"a-b": 1}, "on": True})


def test_the_names_that_are_read() -> None:
    assert compile_expression("self.tags.all(on, on == 'a')", TYPED).names == {"self"}


def test_an_expression_may_not_take_for_ever() -> None:
    many = list(range(1000))
    text = "self.all(a, self.all(b, self.all(c, a + b + c >= 0)))"
    with pytest.raises(BudgetError):
        value(text, self=many)
    with pytest.raises(BudgetError):
        value(f"true || true ? {text} || true : false", self=many)
    assert value("self.s.matches('(a+)+$')", self={"s": "a" * 5000 + "b"}) is False
