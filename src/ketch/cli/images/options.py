"""What the commands about images share: options, the store of a data directory, errors as exit codes."""

import contextlib
from collections.abc import Generator
from pathlib import Path
from typing import Annotated

import typer

from ketch.cli.messages import FAILED, INTERRUPTED, USAGE, fail
from ketch.cli.options import data_directory
from ketch.local.images.oci.asking import FOLDER
from ketch.local.images.oci.errors import OCIError
from ketch.local.images.oci.references import ImageName, NameInvalid
from ketch.local.images.oci.store import Store
from ketch.local.platform.directory import DirectoryError

FORMS = ("table", "name", "json")
Form = Annotated[str, typer.Option("--output", "-o", metavar="FORM", help="One of table, name, json.")]
UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def checked_form(form: str) -> str:
    """The form, if there is such a one."""
    if form not in FORMS:
        fail(f"-o {form}: there are {', '.join(FORMS)}", USAGE)
    return form


def image_name(text: str) -> ImageName:
    """The name, if it is one."""
    try:
        return ImageName.parse(text)
    except NameInvalid as error:
        fail(str(error), USAGE)


@contextlib.contextmanager
def opened(data_dir: Path | None) -> Generator[tuple[Path, Store]]:
    """The data directory and its store; what goes wrong meanwhile is the command's error."""
    directory = data_directory(data_dir)
    try:
        directory.prepare()
        yield directory.root, Store(directory.root / FOLDER)
    except (OCIError, DirectoryError) as error:
        fail(str(error), FAILED)
    except OSError as error:
        fail(f"images cannot be kept in {directory.root}: {error}", FAILED)
    except KeyboardInterrupt:
        fail("interrupted: what was fetched so far is used the next time", INTERRUPTED)


def size_text(size: int) -> str:
    """Bytes for people."""
    amount = float(size)
    for unit in UNITS:
        if amount < 1024 or unit == UNITS[-1]:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    raise AssertionError(size)
