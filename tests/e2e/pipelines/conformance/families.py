"""All families of cases."""

from collections.abc import Sequence

from tests.e2e.pipelines.conformance import (
    artifacts,
    caching,
    collecting,
    combinations,
    conditions,
    containers,
    exits,
    failures,
    importers,
    limits,
    loops,
    parameters,
    resources,
    retries,
    settings,
    sharing,
    subdags,
)
from tests.e2e.pipelines.conformance.cases import Case

_MODULES = (
    parameters,
    artifacts,
    conditions,
    loops,
    collecting,
    subdags,
    exits,
    retries,
    caching,
    containers,
    importers,
    settings,
    resources,
    sharing,
    failures,
    limits,
    combinations,
)

CASES: Sequence[Case] = [case for module in _MODULES for case in module.family.cases]
