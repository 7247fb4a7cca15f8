"""What an importer imports. Pure."""

from collections.abc import Mapping
from typing import Any, Final, cast

import msgspec

from ketch.pipelines.engine.inputs import InputProblem
from ketch.pipelines.engine.nodes import Node
from ketch.pipelines.engine.orders import Import
from ketch.pipelines.ir.spec import ImporterSpec
from ketch.pipelines.steps.placeholders import Names, PlaceholderError, Scope, expand, expand_text
from ketch.pipelines.values import plain, to_text

IMPORTED = "artifact"
"""The output under which an importer's artifact is known, unless its component calls it otherwise."""

_WRAPPINGS: Final = ("constant", "constantValue", "stringValue", "intValue", "doubleValue")


def imported(node: Node, importer: ImporterSpec, names: Names) -> Import:
    """The artifact that ``node`` names, its placeholders resolved. Raises InputProblem."""
    declared = node.component.input_definitions.parameters
    defaults = {name: each.default_value for name, each in declared.items() if each.default_value is not msgspec.UNSET}
    parameters = {**defaults, **node.inputs.parameters}
    texts = Scope(names=names, parameters=parameters, inputs=node.inputs.artifacts)
    source = importer.artifact_uri
    try:
        if source.runtime_parameter:
            uri = to_text(plain(parameters.get(source.runtime_parameter)))
        else:
            constant = source.constant if source.constant is not msgspec.UNSET else source.constant_value
            uri = expand_text(to_text(constant), texts)
        metadata: Any = expand(_metadata(importer), texts)
    except PlaceholderError as problem:
        raise InputProblem(str(problem)) from problem
    if not uri:
        raise InputProblem("the importer got no artifact URI")
    outputs = tuple(node.component.output_definitions.artifacts)
    return Import(
        task_id=node.id,
        key=outputs[0] if len(outputs) == 1 else IMPORTED,
        uri=uri,
        type=importer.type_schema.schema_title or "system.Artifact",
        metadata=metadata,
        reuse=not importer.reimport,
    )


def _metadata(importer: ImporterSpec) -> Mapping[str, Any]:
    """The metadata, with what older compilers called properties."""
    older = {**importer.properties, **importer.custom_properties}
    return plain({**{name: _constant(value) for name, value in older.items()}, **importer.metadata})


def _constant(value: Any) -> Any:
    """A property's value: a constant, maybe wrapped as the older forms wrap it."""
    if not isinstance(value, Mapping):
        return value
    for form in _WRAPPINGS:
        if form in value:
            return _constant(value[form])
    return cast("Mapping[str, Any]", value)
