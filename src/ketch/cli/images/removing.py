"""``ketch image rm`` and ``prune``: giving room back."""

import json
import shutil
from collections.abc import Mapping, Sequence
from typing import Annotated

import typer

from ketch.cli.images.listing import as_json
from ketch.cli.images.options import Form, checked_form, image_name, opened, size_text
from ketch.cli.messages import FAILED, fail
from ketch.cli.options import DataDir
from ketch.local.images.images import ENVIRONMENTS
from ketch.local.images.oci.collection import prune as prune_images
from ketch.local.images.oci.collection import removable, remove, unused_environments, users
from ketch.local.images.oci.errors import OCIError
from ketch.local.images.oci.references import ImageName
from ketch.local.images.oci.store import Store, StoredImage
from ketch.local.platform.directory import DataDirectory
from ketch.local.platform.record import running_platform


def rm(
    names: Annotated[list[str], typer.Argument(metavar="IMAGE...", help="Names, with a tag or a digest.")],
    force: Annotated[bool, typer.Option("--force", "-f", help="Take the name also from what containers use.")] = False,
    output: Form = "table",
    data_dir: DataDir = None,
) -> None:
    """Remove images by name. What containers use is refused: exit code 1, and the others are removed nevertheless."""
    checked_form(output)
    wanted = [image_name(each) for each in names]
    with opened(data_dir) as (root, store):
        used = users(root)
        gone, refusals = _removed(store, wanted, used, force=force)
    if output == "json":
        typer.echo(json.dumps([as_json(each, used.get(each.id, 0)) for each in gone], indent=1))
    else:
        for each in gone:
            typer.echo(each.name if output == "name" else f"removed {each.name}")
    if refusals:
        fail("; ".join(refusals), FAILED)


def _removed(
    store: Store, names: Sequence[ImageName], used: Mapping[str, int], *, force: bool
) -> tuple[Sequence[StoredImage], Sequence[str]]:
    """The images that are gone, and why the others are not."""
    gone: list[StoredImage] = []
    refusals: list[str] = []
    for name in names:
        try:
            gone.append(remove(store, name, used, force=force))
        except OCIError as error:
            refusals.append(str(error))
    return gone, refusals


def prune(
    every: Annotated[bool, typer.Option("--all", "-a", help="Also images with a name that no container uses.")] = False,
    environments: Annotated[
        bool, typer.Option("--environments", help="Also Python environments that no container uses; platform down.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go, and leave it.")] = False,
    output: Form = "table",
    data_dir: DataDir = None,
) -> None:
    """Remove what nothing needs: layers and images without a name, half-fetched ones, and more where asked."""
    checked_form(output)
    with opened(data_dir) as (root, store):
        if environments and running_platform(DataDirectory(root)) is not None:
            fail("--environments: the platform runs, and may need any of them: 'ketch down' first", FAILED)
        used = users(root)
        chosen = removable(store, used, named=every)
        folders = list(unused_environments(root / ENVIRONMENTS, used)) if environments else []
        images, size = (chosen, 0) if dry_run else prune_images(store, chosen)
        if not dry_run:
            for folder in folders:
                shutil.rmtree(folder)
    if output == "json":
        gone = [as_json(each, 0) for each in images]
        document = {"images": gone, "environments": [folder.name for folder in folders], "layer_bytes": size}
        typer.echo(json.dumps(document, indent=1))
        return
    for name in (*(each.name for each in images), *(f"environment {folder.name}" for folder in folders)):
        typer.echo(name if output == "name" else f"{'would remove' if dry_run else 'removed'} {name}")
    if output == "table" and not dry_run:
        typer.echo(f"{size_text(size)} of layers removed")
