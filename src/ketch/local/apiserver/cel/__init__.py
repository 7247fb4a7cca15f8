"""The Common Expression Language as Kubernetes speaks it: rules of custom resources, conditions of admission.

Law: pure; knows no object, no schema and no server. ``syntax`` reads text into a tree, ``compiling`` checks the tree
against declared types and makes it a function, ``functions`` holds what may be called, one module per library.
Evaluation is bounded: a run that takes too many steps raises. Patterns are RE2's, in linear time. Sources: the
language definition of CEL, Kubernetes' "Common Expression Language in Kubernetes".
"""

from ketch.local.apiserver.cel.compiling import Program, compile_expression
from ketch.local.apiserver.cel.errors import BudgetError, CompilationError, EvaluationError
from ketch.local.apiserver.cel.types import (
    BOOL,
    BYTES,
    DOUBLE,
    DURATION,
    DYN,
    INT,
    STRING,
    TIMESTAMP,
    Type,
    list_of,
    map_of,
    object_of,
    optional_of,
)

__all__ = [
    "BOOL",
    "BYTES",
    "DOUBLE",
    "DURATION",
    "DYN",
    "INT",
    "STRING",
    "TIMESTAMP",
    "BudgetError",
    "CompilationError",
    "EvaluationError",
    "Program",
    "Type",
    "compile_expression",
    "list_of",
    "map_of",
    "object_of",
    "optional_of",
]
