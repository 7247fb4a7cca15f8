"""``ketch image import``, ``pull`` and ``map``: giving names a meaning."""

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from ketch.cli.images.listing import as_json, mapping_as_json, means
from ketch.cli.images.options import Form, checked_form, image_name, opened, size_text
from ketch.cli.messages import FAILED, USAGE, fail
from ketch.cli.options import DataDir
from ketch.local.images.mappings import read_mappings, write_mapping
from ketch.local.images.names import MappingInvalid
from ketch.local.images.oci.archives import import_images
from ketch.local.images.oci.credentials import Credentials, CredentialsInvalid, parse_config
from ketch.local.images.oci.pulling import pull as pull_image
from ketch.local.images.oci.settings import read_settings
from ketch.local.images.oci.store import StoredImage

STDIN = "-"


def _tell(text: str) -> None:
    """Progress, where somebody looks on."""
    if sys.stderr.isatty():
        typer.echo(text, err=True)


def _show(images: Sequence[StoredImage], form: str, done: str) -> None:
    if form == "json":
        typer.echo(json.dumps([as_json(each, 0) for each in images], indent=1))
        return
    for each in images:
        typer.echo(each.name if form == "name" else f"{done} {each.name} ({size_text(each.size)})")


def import_(
    source: Annotated[str, typer.Argument(metavar="PATH", help="A directory or an archive; - reads standard input.")],
    name: Annotated[list[str] | None, typer.Option(help="The image's name, in place of its own; repeatable.")] = None,
    output: Form = "table",
    data_dir: DataDir = None,
) -> None:
    """Import images: an OCI layout (directory or archive), or what 'docker save' writes; gzip and zstd are read too."""
    checked_form(output)
    names = [image_name(each) for each in name or ()]
    if any(each.digest for each in names):
        fail("--name: a digest is what an image has, not what it is given", USAGE)
    if source != STDIN and not Path(source).exists():
        fail(f'there is no "{source}"', USAGE)
    with opened(data_dir) as (_, store):
        images = import_images(store, sys.stdin.buffer if source == STDIN else Path(source), names, _tell)
    _show(images, output, "imported")


def pull(
    names: Annotated[list[str], typer.Argument(metavar="IMAGE...", help="Names as pods write them.")],
    username: Annotated[str, typer.Option(help="Who asks; with --password-stdin.")] = "",
    password_stdin: Annotated[bool, typer.Option("--password-stdin", help="Read the password from stdin.")] = False,
    auth_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="What 'docker login' wrote [default: $DOCKER_CONFIG/config.json, ~/.docker/config.json].",
        ),
    ] = None,
    output: Form = "table",
    data_dir: DataDir = None,
) -> None:
    """Pull images from their registries. Mirrors and the like stand in registries.json of the data directory."""
    checked_form(output)
    wanted = [image_name(each) for each in names]
    if bool(username) != password_stdin:
        fail("--username and --password-stdin belong together", USAGE)
    if username:
        password = sys.stdin.read().rstrip("\r\n")
        known: Sequence[Credentials] = [Credentials(host, username, password) for host in {n.registry for n in wanted}]
    else:
        known = _logged_in(auth_file)
    with opened(data_dir) as (root, store):
        settings = read_settings(root)
        images = [pull_image(store, each, known, settings, _tell) for each in wanted]
    _show(images, output, "pulled")


def _logged_in(given: Path | None) -> Sequence[Credentials]:
    folder = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker")
    path = given or folder / "config.json"
    try:
        return parse_config(path.read_bytes())
    except OSError as error:
        if given is None:
            return ()
        fail(f'--auth-file: "{given}" cannot be read: {error.strerror}', USAGE)
    except CredentialsInvalid as error:
        fail(f'"{path}" cannot be used: {error}', USAGE)


def map_(
    pattern: Annotated[
        str, typer.Argument(metavar="PATTERN", help="An image's name without host docker.io; * matches.")
    ],
    python: Annotated[str | None, typer.Option(metavar="3.X", help="A Python environment of this version.")] = None,
    requirement: Annotated[
        list[str] | None, typer.Option(help="A package in it, as pip writes it; repeatable.")
    ] = None,
    system: Annotated[bool, typer.Option("--system", help="This machine's own system.")] = False,
    remove: Annotated[bool, typer.Option("--remove", help="Forget what the pattern was mapped to.")] = False,
    output: Form = "table",
    data_dir: DataDir = None,
) -> None:
    """Map image names to a Python environment, or to this machine's system; the newest mapping counts first."""
    checked_form(output)
    environment = python is not None or bool(requirement)
    if environment + system + remove != 1:
        fail("say one of: --python and --requirement, --system, --remove", USAGE)
    entry = {"system": True} if system else {"python": python or "", "requirements": list(requirement or ())}
    with opened(data_dir) as (root, _):
        try:
            known = write_mapping(root, pattern, None if remove else entry)
            rule = next((each for each in read_mappings(root) if each.pattern == pattern), None)
        except MappingInvalid as error:
            fail(str(error), FAILED)
    if rule is None:
        if not known:
            fail(f'"{pattern}" was not mapped to anything', FAILED)
        typer.echo("[]" if output == "json" else pattern if output == "name" else f"{pattern} is not mapped any more")
    elif output == "json":
        typer.echo(json.dumps([mapping_as_json(rule, builtin=False)], indent=1))
    else:
        typer.echo(pattern if output == "name" else f"{pattern} means {means(rule.recipe)}")
