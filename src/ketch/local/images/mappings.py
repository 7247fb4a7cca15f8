"""The file that maps images' names to environments: ``images.json`` in the data directory."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ketch.local.images.names import MappingInvalid, Rule, parse_rules

FILE = "images.json"


def read_mappings(data_dir: Path) -> Sequence[Rule]:
    """The rules of a data directory, in the order in which they count. Raises MappingInvalid."""
    path = data_dir / FILE
    return parse_rules(_entries(path), str(path))


def write_mapping(data_dir: Path, pattern: str, entry: Mapping[str, Any] | None) -> bool:
    """Have the pattern mean ``entry``, before all others, or nothing of its own (None); whether it meant something.

    Raises MappingInvalid.
    """
    path = data_dir / FILE
    entries = _entries(path)
    parse_rules(entries, str(path))
    others = [each for each in entries if each["pattern"] != pattern]
    wanted = [*([{"pattern": pattern, **entry}] if entry is not None else ()), *others]
    parse_rules(wanted, "the mapping")
    partial = path.with_suffix(f".{os.getpid()}")
    partial.write_text(json.dumps(wanted, indent=1) + "\n")
    partial.replace(path)
    return len(others) < len(entries)


def _entries(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return []
    except json.JSONDecodeError as error:
        raise MappingInvalid(f"{path} is not JSON: {error}") from error
