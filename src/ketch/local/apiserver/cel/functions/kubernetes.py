"""Quantities, addresses, URLs and versions, as Kubernetes adds them."""

import ipaddress
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar
from urllib.parse import parse_qs, quote, unquote, urlsplit

from ketch.kube.quantities import QuantityError, parse_quantity
from ketch.local.apiserver.cel.errors import EvaluationError
from ketch.local.apiserver.cel.functions.overloads import Overload, function, member

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, order=True, slots=True)
class Quantity:
    """resource.Quantity."""

    cel_name: ClassVar[str] = "kubernetes.Quantity"
    amount: Fraction


@dataclass(frozen=True, slots=True)
class IP:
    """An address, as ``ip()`` reads it."""

    cel_name: ClassVar[str] = "net.IP"
    address: Address

    def __str__(self) -> str:
        return str(self.address)


@dataclass(frozen=True, slots=True)
class CIDR:
    """A network with the address that it was written with."""

    cel_name: ClassVar[str] = "net.CIDR"
    address: Address
    network: Network

    def __str__(self) -> str:
        return f"{self.address}/{self.network.prefixlen}"


@dataclass(frozen=True, slots=True)
class URL:
    """An absolute address of the web, or an absolute path."""

    cel_name: ClassVar[str] = "kubernetes.URL"
    text: str


@dataclass(frozen=True, slots=True)
class Version:
    """A semantic version; ``before`` are the parts of its pre-release."""

    cel_name: ClassVar[str] = "kubernetes.Semver"
    numbers: tuple[int, int, int]
    before: tuple[str, ...]

    def key(self) -> tuple[Any, ...]:
        """Its place in the order of versions: a pre-release comes before its release."""
        parts = tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in self.before)
        return self.numbers, not self.before, parts


def _is(parse: Callable[..., Any]) -> Callable[..., bool]:
    def asks(*given: Any) -> bool:
        try:
            parse(*given)
        except EvaluationError:
            return False
        return True

    return asks


def _quantity(text: str) -> Quantity:
    try:
        return Quantity(parse_quantity(text))
    except QuantityError as error:
        raise EvaluationError(str(error)) from None


def _is_integer(value: Quantity) -> bool:
    return value.amount.denominator == 1 and abs(value.amount) < 2**63


def _as_integer(value: Quantity) -> int:
    if not _is_integer(value):
        raise EvaluationError("cannot convert value to integer")
    return int(value.amount)


def _compared(left: Any, right: Any) -> int:
    return (left > right) - (left < right)


def _address(text: str) -> Address:
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        raise EvaluationError(f'IP Address "{text}" parse error during conversion from string') from None
    if isinstance(found, ipaddress.IPv6Address) and (found.ipv4_mapped is not None or found.scope_id):
        raise EvaluationError(f'IP Address "{text}" is an IPv4-mapped address or has a zone: neither is allowed')
    return found


def _cidr(text: str) -> CIDR:
    address, slash, bits = text.partition("/")
    try:
        if not slash or not re.fullmatch(r"0|[1-9]\d{0,2}", bits):
            raise EvaluationError(f'network address parse error during conversion from string: "{text}"')
        return CIDR(_address(address), ipaddress.ip_network(text, strict=False))
    except ValueError:
        raise EvaluationError(f'network address parse error during conversion from string: "{text}"') from None


def _inside(network: Network, address: Address) -> bool:
    return address.version == network.version and address in network


def _holds(outer: CIDR, inner: CIDR) -> bool:
    same = outer.network.version == inner.network.version
    return same and _inside(outer.network, inner.network[0]) and outer.network.prefixlen <= inner.network.prefixlen


def _global_unicast(address: Address) -> bool:
    broadcast = address == ipaddress.IPv4Address("255.255.255.255")
    special = address.is_unspecified or address.is_loopback or address.is_multicast or address.is_link_local
    return not (broadcast or special)


def _link_local_multicast(address: Address) -> bool:
    networks = (ipaddress.ip_network("224.0.0.0/24"), ipaddress.ip_network("ff02::/16"))
    return any(_inside(network, address) for network in networks)


def _url(text: str) -> URL:
    wrong = EvaluationError(f"URL parse error during conversion from string: parse {text!r}: invalid URI for request")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise wrong from None
    good = bool(parts.scheme) or text.startswith("/")
    if not good or re.search(r"[\x00-\x20\x7f]", text) or port == 0 or re.search(r"%(?![0-9A-Fa-f]{2})", text):
        raise wrong
    return URL(text)


def _host(text: str, *, port: bool) -> str:
    place = urlsplit(text).netloc.rpartition("@")[2]
    return place if port else re.sub(r":\d*$", "", place).strip("[]")


def _path(text: str) -> str:
    return quote(unquote(urlsplit(text).path), safe="/:@!$&'()*+,;=-._~")


_VERSION = re.compile(
    r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)"
    r"(?:-((?:0|[1-9]\d*|\d*[A-Za-z-][0-9A-Za-z-]*)(?:\.(?:0|[1-9]\d*|\d*[A-Za-z-][0-9A-Za-z-]*))*))?"
    r"(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?"
)


def _version(text: str, normalize: bool = False) -> Version:
    if normalize:
        begin, separator, rest = text.removeprefix("v").partition("-")
        parts = [part.lstrip("0") or "0" for part in begin.split(".")]
        text = ".".join([*parts, "0", "0"][: max(3, len(parts))]) + separator + rest
    found = _VERSION.fullmatch(text)
    if found is None:
        raise EvaluationError(f"No Major.Minor.Patch elements found in {text!r}")
    before = tuple(found[4].split(".")) if found[4] else ()
    return Version((int(found[1]), int(found[2]), int(found[3])), before)


def _quantities() -> Sequence[Overload]:
    kind = Quantity.cel_name
    return (
        function("quantity", f"string -> {kind}", _quantity),
        function("isQuantity", "string -> bool", _is(_quantity)),
        member("sign", f"{kind} -> int", lambda value: _compared(value.amount, 0)),
        member("isInteger", f"{kind} -> bool", _is_integer),
        member("asInteger", f"{kind} -> int", _as_integer),
        member("asApproximateFloat", f"{kind} -> double", lambda value: float(value.amount)),
        member("add", f"{kind}, {kind} -> {kind}", lambda left, right: Quantity(left.amount + right.amount)),
        member("add", f"{kind}, int -> {kind}", lambda left, right: Quantity(left.amount + right)),
        member("sub", f"{kind}, {kind} -> {kind}", lambda left, right: Quantity(left.amount - right.amount)),
        member("sub", f"{kind}, int -> {kind}", lambda left, right: Quantity(left.amount - right)),
        member("isLessThan", f"{kind}, {kind} -> bool", lambda left, right: left.amount < right.amount),
        member("isGreaterThan", f"{kind}, {kind} -> bool", lambda left, right: left.amount > right.amount),
        member("compareTo", f"{kind}, {kind} -> int", lambda left, right: _compared(left.amount, right.amount)),
    )  # fmt: skip


def _addresses() -> Sequence[Overload]:
    ip, cidr = IP.cel_name, CIDR.cel_name
    return (
        function("ip", f"string -> {ip}", lambda text: IP(_address(text))),
        function("isIP", "string -> bool", _is(_address)),
        function("ip.isCanonical", "string -> bool", lambda text: str(_address(text)) == text),
        member("family", f"{ip} -> int", lambda value: value.address.version),
        member("isUnspecified", f"{ip} -> bool", lambda value: value.address.is_unspecified),
        member("isLoopback", f"{ip} -> bool", lambda value: value.address.is_loopback),
        member("isLinkLocalMulticast", f"{ip} -> bool", lambda value: _link_local_multicast(value.address)),
        member("isLinkLocalUnicast", f"{ip} -> bool", lambda value: value.address.is_link_local),
        member("isGlobalUnicast", f"{ip} -> bool", lambda value: _global_unicast(value.address)),
        function("string", f"{ip} -> string", str),
        function("cidr", f"string -> {cidr}", _cidr),
        function("isCIDR", "string -> bool", _is(_cidr)),
        member("containsIP", f"{cidr}, {ip} -> bool", lambda net, value: _inside(net.network, value.address)),
        member("containsIP", f"{cidr}, string -> bool", lambda net, text: _inside(net.network, _address(text))),
        member("containsCIDR", f"{cidr}, {cidr} -> bool", _holds),
        member("containsCIDR", f"{cidr}, string -> bool", lambda net, text: _holds(net, _cidr(text))),
        member("ip", f"{cidr} -> {ip}", lambda net: IP(net.address)),
        member("masked", f"{cidr} -> {cidr}", lambda net: CIDR(net.network.network_address, net.network)),
        member("prefixLength", f"{cidr} -> int", lambda net: net.network.prefixlen),
        function("string", f"{cidr} -> string", str),
    )


def _urls() -> Sequence[Overload]:
    url = URL.cel_name
    return (
        function("url", f"string -> {url}", _url),
        function("isURL", "string -> bool", _is(_url)),
        member("getScheme", f"{url} -> string", lambda value: str(urlsplit(str(value.text)).scheme)),
        member("getHost", f"{url} -> string", lambda value: _host(value.text, port=True)),
        member("getHostname", f"{url} -> string", lambda value: _host(value.text, port=False)),
        member("getPort", f"{url} -> string", lambda value: str(urlsplit(str(value.text)).port or "")),
        member("getEscapedPath", f"{url} -> string", lambda value: _path(value.text)),
        member(
            "getQuery", f"{url} -> map", lambda value: parse_qs(urlsplit(str(value.text)).query, keep_blank_values=True)
        ),
    )


def _versions() -> Sequence[Overload]:
    kind = Version.cel_name
    return (
        function("semver", f"string -> {kind}", _version),
        function("semver", f"string, bool -> {kind}", _version),
        function("isSemver", "string -> bool", _is(_version)),
        function("isSemver", "string, bool -> bool", _is(_version)),
        member("major", f"{kind} -> int", lambda value: value.numbers[0]),
        member("minor", f"{kind} -> int", lambda value: value.numbers[1]),
        member("patch", f"{kind} -> int", lambda value: value.numbers[2]),
        member("isLessThan", f"{kind}, {kind} -> bool", lambda left, right: left.key() < right.key()),
        member("isGreaterThan", f"{kind}, {kind} -> bool", lambda left, right: left.key() > right.key()),
        member("compareTo", f"{kind}, {kind} -> int", lambda left, right: _compared(left.key(), right.key())),
    )  # fmt: skip


OVERLOADS: Sequence[Overload] = (*_quantities(), *_addresses(), *_urls(), *_versions())
