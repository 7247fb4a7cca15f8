"""Extracts the protobuf field numbers of Kubernetes' kinds from a kubectl binary.

kubectl sends built-in objects as protobuf. Numbers, names and types stand in the struct tags that Go keeps in the
binary for reflection; this walks Go's type data (internal/abi, Go 1.20 and later) from the structs that carry such tags
and writes what the server's decoder reads. Run it when the served Kubernetes version changes:

    .venv/bin/python scripts/extract_wire_fields.py $(readlink -f .venv/bin/kubectl)
"""

import json
import re
import struct
import sys
from pathlib import Path

OUTPUT = Path(__file__).parent.parent / "src/ketch/local/apiserver/protobuf/fields.json"
SERVED = re.compile(
    r"k8s\.io/api/(admissionregistration|apps|authentication|authorization|batch|certificates|coordination|core|discovery"
    r"|events|flowcontrol|networking|node|policy|rbac|scheduling|storage)/v1\.|k8s\.io/api/autoscaling/v[12]\."
    r"|k8s\.io/apimachinery/pkg/apis/meta/v1\.DeleteOptions$"
)
KINDS = {1: "bool", **dict.fromkeys((2, 3, 4, 5, 6), "int"), **dict.fromkeys((7, 8, 9, 10, 11), "uint")}
KINDS |= {13: "float32", 14: "float64", 21: "map", 22: "pointer", 23: "slice", 24: "string", 25: "struct"}
TAG = re.compile(
    r'protobuf:"(?P<wire>\w+),(?P<number>\d+)(?:,(?P<label>opt|rep|req))?(?:,(?:name|casttype|castkey|castvalue|json)=[^,"]*)*"'
)
JSON_NAME = re.compile(r'json:"([^,"]*)')
STRUCT_SIZE, RTYPE_SIZE = 80, 48


class Binary:
    """An ELF file, read by virtual address."""

    def __init__(self, path: Path) -> None:
        self.data = path.read_bytes()
        (offset,) = struct.unpack_from("<Q", self.data, 0x20)
        size, count = struct.unpack_from("<HH", self.data, 0x36)
        self.segments: list[tuple[int, int, int]] = []
        for index in range(count):
            kind, _, place, address, _, length = struct.unpack_from("<IIQQQQ", self.data, offset + index * size)
            if kind == 1:
                self.segments.append((address, place, length))

    def place(self, address: int) -> int | None:
        """Where in the file an address is."""
        for start, place, length in self.segments:
            if start <= address < start + length:
                return place + address - start
        return None

    def address(self, place: int) -> int | None:
        """Which address a place in the file has."""
        for start, begin, length in self.segments:
            if begin <= place < begin + length:
                return start + place - begin
        return None

    def word(self, address: int, code: str = "<Q") -> int:
        """A number at an address."""
        place = self.place(address)
        if place is None:
            raise ValueError(hex(address))
        return struct.unpack_from(code, self.data, place)[0]

    def text(self, address: int) -> tuple[str, int]:
        """A varint-counted text, and the address behind it."""
        place, length, shift = self.place(address), 0, 0
        if place is None:
            raise ValueError(hex(address))
        while True:
            byte = self.data[place]
            place, address = place + 1, address + 1
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        return self.data[place : place + length].decode(errors="replace"), address + length

    def name(self, address: int) -> tuple[str, str]:
        """A Go reflection name and its tag."""
        flags = self.word(address, "<B")
        name, after = self.text(address + 1)
        return name, self.text(after)[0] if flags & 2 else ""


class Types:
    """Go's type data in a binary."""

    def __init__(self, binary: Binary, base: int) -> None:
        self.binary = binary
        self.base = base

    def kind(self, address: int) -> str:
        """A type's kind."""
        return KINDS.get(self.binary.word(address + 23, "<B") & 31, "other")

    def element(self, address: int, index: int = 0) -> int:
        """A word behind the part that all types have."""
        return self.binary.word(address + RTYPE_SIZE + 8 * index)

    def full_name(self, address: int) -> str:
        """``package.Name`` of a named type."""
        flags, offset = self.binary.word(address + 20, "<B"), self.binary.word(address + 40, "<I")
        name = self.binary.name(self.base + offset)[0]
        name = name[1:] if flags & 2 else name
        if not flags & 1:
            return name
        sizes = {"struct": STRUCT_SIZE, "pointer": 56, "slice": 56, "map": 104}
        package = self.binary.word(address + sizes.get(self.kind(address), RTYPE_SIZE), "<I")
        path = self.binary.name(self.base + package)[0] if package else ""
        return f"{path}.{name.rpartition('.')[2]}"

    def fields(self, address: int) -> list[tuple[str, str, int]]:
        """A struct's fields: name, tag, type."""
        begin, length = self.element(address, 1), self.element(address, 2)
        return [
            (*self.binary.name(self.binary.word(begin + 24 * index)), self.binary.word(begin + 24 * index + 8))
            for index in range(length)
        ]


def struct_addresses(binary: Binary) -> set[int]:
    """Struct types with a field that carries a protobuf tag."""
    names: set[int] = set()
    for found in re.finditer(rb'protobuf:"(?:bytes|varint|fixed)', binary.data):
        # json:"..." comes first in the tag, the field's name before it, its flags and length in front.
        start = binary.data.rfind(b'json:"', found.start() - 120, found.start())
        for back in range(3, 80):
            place = (start if start >= 0 else found.start()) - back
            address = binary.address(place)
            if address is None or binary.data[place] not in (2, 3, 6, 7):
                continue
            length = binary.data[place + 1]
            if length + 3 == back or length + 4 == back:
                names.add(address)
    words = struct.unpack_from(f"<{len(binary.data) // 8}Q", binary.data, 0)
    arrays = {binary.address(index * 8) for index, word in enumerate(words) if word in names}
    first = {address - 24 * step for address in arrays if address is not None for step in range(4)}
    found_types: set[int] = set()
    for index in range(len(words) - 2):
        if words[index] in first and 0 < words[index + 1] == words[index + 2] < 200:
            address = binary.address(index * 8 - RTYPE_SIZE - 8)
            if address is not None and binary.word(address + 23, "<B") & 31 == 25:
                found_types.add(address)
    return found_types


def types_base(binary: Binary, structs: set[int]) -> int:
    """Where name offsets count from: the start by which the structs' names make sense."""
    for start, _, _ in binary.segments:
        names = (start + binary.word(address + 40, "<I") for address in list(structs)[:50])
        readable = 0
        for address in names:
            try:
                readable += bool(re.match(r"^\*?[a-z0-9]+\.[A-Z]\w+$", binary.name(address)[0]))
            except (ValueError, IndexError):
                continue
        if readable > 40:
            return start
    raise SystemExit("the types' base address was not found: Go's type data changed")


class Extractor:
    """Follows types from struct to struct."""

    def __init__(self, types: Types) -> None:
        self.types = types
        self.messages: dict[str, dict[str, list[str]]] = {}

    def described(self, address: int) -> str:
        """A field's type: bool, int, float64, string, bytes, a message's name; before it ``[]``, ``{}`` or ``*``."""
        kind = self.types.kind(address)
        if kind == "pointer":
            return "*" + self.described(self.types.element(address)).removeprefix("*")
        if kind == "slice":
            element = self.types.element(address)
            if self.types.binary.word(element + 23, "<B") & 31 == 8:
                return "bytes"
            return f"[]{self.described(element)}"
        if kind == "map":
            return f"{{}}{self.described(self.types.element(address, 1))}"
        if kind == "struct":
            name = self.types.full_name(address)
            self.message(name, address)
            return name
        return {"uint": "int"}.get(kind, kind)

    def message(self, name: str, address: int) -> None:
        """Take a struct among the messages."""
        if name in self.messages:
            return
        fields = self.messages[name] = {}
        for go_name, tag, kind in self.types.fields(address):
            if found := TAG.search(tag):
                json_name = JSON_NAME.search(tag)
                shown = json_name[1] if json_name and json_name[1] else ("" if json_name else go_name)
                fields[found["number"]] = [shown, self.described(kind)]


def main() -> None:
    """Extract from the binary that the command line names."""
    binary = Binary(Path(sys.argv[1]))
    structs = struct_addresses(binary)
    types = Types(binary, types_base(binary, structs))
    extractor = Extractor(types)
    for address in sorted(structs):
        name = types.full_name(address)
        if SERVED.match(name):
            extractor.message(name, address)
    print(f"{len(structs)} structs, {len(extractor.messages)} messages")
    OUTPUT.parent.mkdir(exist_ok=True)
    OUTPUT.write_text(json.dumps(extractor.messages, separators=(",", ":"), sort_keys=True) + "\n")


main()
