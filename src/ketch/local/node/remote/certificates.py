"""The certificate by which a node is known: made and signed by itself, told in its Node object."""

import os
from pathlib import Path

from ketch.kube.certificates import ServingPair, self_signed
from ketch.kube.clock import Clock

CERTIFICATE, KEY = "node-serving.crt", "node-serving.key"


def serving_pair(folder: Path, name: str, address: str, clock: Clock) -> tuple[Path, Path]:
    """Certificate and key of the node ``name`` at ``address``, made where there is none or it ends soon."""
    certificate, key = folder / CERTIFICATE, folder / KEY
    known = ServingPair(*(path.read_bytes() if path.exists() else b"" for path in (certificate, key)))
    if known.key and known.serves((address,), clock):
        return certificate, key
    pair = self_signed(f"system:node:{name}", "system:nodes", (address,), clock)
    for path, content in ((key, pair.key), (certificate, pair.certificate)):
        partial = path.with_suffix(".partial")
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        partial.replace(path)
    return certificate, key
