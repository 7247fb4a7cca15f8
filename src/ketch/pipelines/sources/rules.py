"""From where packages may be imported.

What may be fetched is configured where Kubeflow Pipelines looks for it, in the environment:

``PIPELINE_URL_ALLOWED_DOMAINS``  names, ``*.name`` for all below one; empty: every public host. A host that is named
                                  in full is the operator's choice and may have any address, others only public ones.
``PIPELINE_URL_ALLOW_HTTP``       ``true``: http too, not https alone.
``PIPELINE_URL_FILE_ROOTS``       directories below which ``file://`` may be read, as in PATH; none unless told.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final


@dataclass(frozen=True, slots=True)
class Rules:
    """What may be fetched."""

    domains: tuple[str, ...] = ()
    http: bool = False
    roots: tuple[Path, ...] = ()

    @classmethod
    def of_environment(cls, environment: Mapping[str, str]) -> "Rules":
        """The rules that an operator has set."""
        domains = environment.get("PIPELINE_URL_ALLOWED_DOMAINS", "").replace(",", " ").split()
        roots = environment.get("PIPELINE_URL_FILE_ROOTS", "").split(os.pathsep)
        return cls(
            tuple(domain.lower().rstrip(".") for domain in domains),
            environment.get("PIPELINE_URL_ALLOW_HTTP", "").lower() in ("1", "true"),
            tuple(Path(root).resolve() for root in roots if root),
        )

    def trusts(self, host: str) -> bool:
        """Whether the host is named in full, whatever its address."""
        return host in self.domains

    def allows(self, host: str) -> bool:
        """Whether the host may be asked at all."""
        if not self.domains or self.trusts(host):
            return True
        return any(domain.startswith("*.") and host.endswith(domain[1:]) for domain in self.domains)


HTTPS_ONLY: Final = Rules()
"""Any public host by https: what holds unless an operator says otherwise."""
