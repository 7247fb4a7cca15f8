"""``ketch image ls``: the images that are kept here, and the names that are mapped to environments."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from ketch.cli.images.options import Form, checked_form, opened, size_text
from ketch.cli.messages import FAILED, fail
from ketch.cli.options import DataDir
from ketch.cli.runs.table import age, table
from ketch.local.images.mappings import read_mappings
from ketch.local.images.names import DEFAULT_RULES, MappingInvalid, Recipe, Rule
from ketch.local.images.oci.collection import users
from ketch.local.images.oci.store import StoredImage

SHORT = 12
"""Digits of an identity that people see."""


def as_json(image: StoredImage, containers: int) -> Mapping[str, Any]:
    """One image, as ``-o json`` prints it."""
    return {
        "name": image.name,
        "kind": "image",
        "id": image.id,
        "config": image.config,
        "digests": list(image.digests),
        "layers": list(image.layers),
        "size": image.size,
        "origin": image.origin,
        "added_at": image.added_at,
        "containers": containers,
    }


def mapping_as_json(rule: Rule, *, builtin: bool) -> Mapping[str, Any]:
    """One mapping, as ``-o json`` prints it."""
    return {
        "name": rule.pattern,
        "kind": "mapping",
        "python": rule.recipe.python,
        "requirements": [*rule.recipe.requirements, *rule.recipe.alone],
        "builtin": builtin,
    }


def means(recipe: Recipe) -> str:
    """What a mapping makes of a name."""
    if recipe.own:
        return "Ketch's own programs"
    if recipe.python is None:
        return "this machine's system"
    packages = ", ".join((*recipe.requirements, *recipe.alone))
    return f"Python {recipe.python or '(own)'}{f': {packages}' if packages else ''}"


def _mappings(root: Path, *, builtin: bool) -> Sequence[tuple[Rule, bool]]:
    try:
        own = [(rule, False) for rule in read_mappings(root)]
    except MappingInvalid as error:
        fail(str(error), FAILED)
    return [*own, *((rule, True) for rule in DEFAULT_RULES if builtin)]


def ls(
    output: Form = "table",
    every: Annotated[bool, typer.Option("--all", "-a", help="Also the mappings that every platform has.")] = False,
    data_dir: DataDir = None,
) -> None:
    """List the images that are kept here, and the names that are mapped to environments."""
    checked_form(output)
    with opened(data_dir) as (root, store):
        used = users(root)
        images = sorted(store.images().values(), key=lambda each: each.name)
        mappings = _mappings(root, builtin=every)
    if output == "json":
        found = [as_json(each, used.get(each.id, 0)) for each in images]
        typer.echo(json.dumps([*found, *(mapping_as_json(rule, builtin=known) for rule, known in mappings)], indent=1))
        return
    if output == "name":
        for name in (*(each.name for each in images), *(rule.pattern for rule, _ in mappings)):
            typer.echo(name)
        return
    now = datetime.now(UTC)
    rows = [
        (
            each.name,
            each.origin,
            each.config.partition(":")[2][:SHORT],
            size_text(each.size),
            age(datetime.fromisoformat(each.added_at), now),
            str(used.get(each.id, 0) or "-"),
        )
        for each in images
    ]
    rows += [(rule.pattern, "mapped", means(rule.recipe), "-", "-", "-") for rule, _ in mappings]
    for line in table(("IMAGE", "ORIGIN", "ID OR MEANING", "SIZE", "ADDED", "CONTAINERS"), rows):
        typer.echo(line)
