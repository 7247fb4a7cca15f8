"""What objects may look like: schemas of built-in kinds and custom resources, their checks and defaults.

Law: pure functions over JSON; nothing waits, nothing is written (but the extracted data files, in a source checkout).
Built-in kinds come from extracted definitions, never typed by hand; what OpenAPI does not carry (defaults, rules
between fields) stands in ``defaults`` and ``rules``, one module per API group.
"""

from ketch.local.apiserver.schemas.schema import Schema, compile_schema, deferred_schema, schema_for

__all__ = ["Schema", "compile_schema", "deferred_schema", "schema_for"]
