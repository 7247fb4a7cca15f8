"""All families of cases."""

from collections.abc import Sequence

from tests.e2e.pipelines.conformance import artifacts, collecting, conditions, exits, loops, parameters, subdags
from tests.e2e.pipelines.conformance.cases import Case

_MODULES = (parameters, artifacts, conditions, loops, collecting, subdags, exits)

CASES: Sequence[Case] = [case for module in _MODULES for case in module.family.cases]
