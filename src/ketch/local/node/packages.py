"""Packages that a pod's annotations ask this node to have ready. A real cluster ignores them: there pip installs.

``environment.ketch.dev/packages``, ``.../packages-without-dependencies`` and ``.../index-urls``: JSON lists of texts.
"""

from collections.abc import Mapping

import msgspec

from ketch.local.node.environment import ConfigError

PREFIX = "environment.ketch.dev/"
PACKAGES, ALONE, INDEX_URLS = f"{PREFIX}packages", f"{PREFIX}packages-without-dependencies", f"{PREFIX}index-urls"


def _texts(annotations: Mapping[str, str], name: str) -> tuple[str, ...]:
    text = annotations.get(name)
    if not text:
        return ()
    try:
        return msgspec.json.decode(text, type=tuple[str, ...])
    except msgspec.DecodeError:
        raise ConfigError(f"annotation {name}: must be a JSON list of texts") from None


def wanted_packages(annotations: Mapping[str, str]) -> tuple[str, ...]:
    """Requirements to have installed. Raises ConfigError."""
    return _texts(annotations, PACKAGES)


def wanted_alone(annotations: Mapping[str, str]) -> tuple[str, ...]:
    """Requirements to have installed without what they ask for themselves. Raises ConfigError."""
    return _texts(annotations, ALONE)


def wanted_indexes(annotations: Mapping[str, str]) -> tuple[str, ...]:
    """Package indexes, the first in place of the default one. Raises ConfigError."""
    return _texts(annotations, INDEX_URLS)
