"""A pull in a process of its own: ``python -m ketch.local.images.oci.puller --data-dir D``.

What to pull, and with whose word, comes on stdin: secrets are not for command lines. How it went is one line on stdout.
Who asked ends it by killing it, or by ending itself.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from ketch.local.images.oci.asking import FOLDER, Answer, Request
from ketch.local.images.oci.errors import OCIError
from ketch.local.images.oci.references import ImageName
from ketch.local.images.oci.settings import read_settings
from ketch.local.images.oci.store import Store
from ketch.local.sandbox.namespaces import die_with_parent


def main(arguments: Sequence[str] | None = None) -> None:
    """Pull one image."""
    from ketch.local.images.oci.pulling import pull  # noqa: PLC0415  # deferred: the node agent knows this module

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path, required=True)
    data_dir: Path = parser.parse_args(arguments).data_dir
    die_with_parent()
    request = msgspec.json.decode(sys.stdin.buffer.read(), type=Request)
    answer = Answer()
    try:
        pull(Store(data_dir / FOLDER), ImageName.parse(request.image), request.credentials, read_settings(data_dir))
    except OCIError as error:
        answer = Answer(str(error))
    except OSError as error:
        answer = Answer(f"the image cannot be kept: {error}")
    sys.stdout.buffer.write(msgspec.json.encode(answer))


if __name__ == "__main__":
    main()
