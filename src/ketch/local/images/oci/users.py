"""Who an image's process is: the word of its configuration, with names as the image's own files explain them. Pure."""

from collections.abc import Iterator
from typing import NamedTuple

LARGEST_ID = (1 << 31) - 1


class UserUnknown(Exception):
    """The image names a user or a group that its own files do not know."""


class User(NamedTuple):
    """By number, and where it is at home."""

    user: int
    group: int
    home: str


def find_user(word: str, passwd: str, group: str) -> User:
    """The user of ``user[:group]``, each a name or a number. Raises UserUnknown."""
    name, _, group_name = word.partition(":")
    entry = next((each for each in _entries(passwd, 7) if name and name in (each[0], each[2])), None)
    if not name:
        name = "0"
        entry = next((each for each in _entries(passwd, 7) if each[2] == name), None)
    number = _number(entry[2] if entry else name)
    if number is None:
        raise UserUnknown(f"unable to find user {name}: no matching entries in passwd file")
    home = (entry[5] if entry else "") or "/"
    if not group_name:
        return User(number, (_number(entry[3]) if entry else 0) or 0, home)
    known = next((each for each in _entries(group, 3) if group_name in (each[0], each[2])), None)
    chosen = _number(known[2] if known else group_name)
    if chosen is None:
        raise UserUnknown(f"unable to find group {group_name}: no matching entries in group file")
    return User(number, chosen, home)


def _entries(text: str, fields: int) -> Iterator[list[str]]:
    for line in text.splitlines():
        entry = line.strip().split(":")
        if len(entry) >= fields and not line.startswith("#"):
            yield entry


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and int(text) <= LARGEST_ID else None
