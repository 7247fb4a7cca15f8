"""All families of cases."""

from collections.abc import Sequence

from tests.e2e.pipelines.conformance import artifacts, conditions, loops, parameters
from tests.e2e.pipelines.conformance.cases import Case

_MODULES = (parameters, artifacts, conditions, loops)

CASES: Sequence[Case] = [case for module in _MODULES for case in module.family.cases]
