"""Named formats: ``format.dns1123Label().validate(text)`` tells what is wrong, or nothing."""

import base64
import binascii
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from ketch.kube.codec import parse_time
from ketch.local.apiserver.cel.functions.kubernetes import URL
from ketch.local.apiserver.cel.functions.overloads import Overload, function, member, named
from ketch.local.apiserver.cel.types import NONE, Optional, optional_of

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_DNS_LABEL = re.compile(_LABEL)
_DNS_1035 = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_SUBDOMAIN = re.compile(rf"{_LABEL}(\.{_LABEL})*")
_QUALIFIED = re.compile(rf"({_LABEL}(\.{_LABEL})*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{{0,61}}[A-Za-z0-9])?")
_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?")


@dataclass(frozen=True, slots=True)
class Format:
    """A named format."""

    cel_name: ClassVar[str] = "kubernetes.NamedFormat"
    name: str


def _matching(pattern: re.Pattern[str], longest: int, what: str, *, prefix: bool = False) -> Callable[[str], list[str]]:
    def check(text: str) -> list[str]:
        wrong = [] if len(text) <= longest else [f"must be no more than {longest} characters"]
        tested = text[:-1] + "a" if prefix and text.endswith("-") else text
        return wrong if pattern.fullmatch(tested) else [*wrong, f"must be {what}"]

    return check


def _parsing(parse: Callable[[str], object], what: str) -> Callable[[str], list[str]]:
    def check(text: str) -> list[str]:
        try:
            parse(text)
        except (ValueError, binascii.Error):
            return [f"must be {what}"]
        return []

    return check


def _absolute(text: str) -> URL:
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*:[^\s]*|/[^\s]*", text):
        raise ValueError(text)
    return URL(text)


_LABEL_NAME, _SUBDOMAIN_NAME = "a lowercase RFC 1123 label", "a lowercase RFC 1123 subdomain"
_1035_NAME = "a DNS-1035 label"
_FORMATS: Mapping[str, Callable[[str], list[str]]] = {
    "dns1123Label": _matching(_DNS_LABEL, 63, _LABEL_NAME),
    "dns1123Subdomain": _matching(_SUBDOMAIN, 253, _SUBDOMAIN_NAME),
    "dns1035Label": _matching(_DNS_1035, 63, _1035_NAME),
    "dns1123LabelPrefix": _matching(_DNS_LABEL, 63, _LABEL_NAME, prefix=True),
    "dns1123SubdomainPrefix": _matching(_SUBDOMAIN, 253, _SUBDOMAIN_NAME, prefix=True),
    "dns1035LabelPrefix": _matching(_DNS_1035, 63, _1035_NAME, prefix=True),
    "qualifiedName": _matching(_QUALIFIED, 317, "a qualified name"),
    "labelValue": _matching(_VALUE, 63, "a valid label value"),
    "uri": _parsing(_absolute, "a URI"),
    "uuid": _parsing(uuid.UUID, "a UUID"),
    "byte": _parsing(lambda text: base64.b64decode(text, validate=True), "base64"),
    "date": _parsing(lambda text: parse_time(f"{text}T00:00:00Z"), "a date"),
    "datetime": _parsing(parse_time, "a time"),
}


def _validate(kind: Format, text: str) -> Optional:
    wrong = _FORMATS[kind.name](text)
    return Optional(present=True, value=wrong) if wrong else NONE


def _named(name: str) -> Optional:
    return Optional(present=True, value=Format(name)) if name in _FORMATS else NONE


def _constant(name: str) -> Callable[[], Format]:
    return lambda: Format(name)


OVERLOADS: Sequence[Overload] = (
    *(function(f"format.{name}", f"-> {Format.cel_name}", _constant(name)) for name in _FORMATS),
    function("format.named", "string ->", _named, optional_of(named(Format.cel_name))),
    member("validate", f"{Format.cel_name}, string ->", _validate, optional_of(named("strings"))),
)
