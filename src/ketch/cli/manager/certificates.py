"""The certificate that all replicas serve with: in a Secret, made by the first."""

import base64
import binascii
from collections.abc import Sequence

from ketch.cli.manager.options import CERTIFICATE_SECRET
from ketch.kube.certificates import ServingPair, self_signed
from ketch.kube.client import Client
from ketch.kube.clock import Clock
from ketch.kube.errors import AlreadyExists, Conflict, NotFound
from ketch.kube.meta import ObjectMeta
from ketch.kube.types.core import Secret

CERTIFICATE, KEY, TYPE = "tls.crt", "tls.key", "kubernetes.io/tls"


async def shared_pair(client: Client, namespace: str, names: Sequence[str], clock: Clock) -> ServingPair:
    """The pair in the Secret; a new one where there is none, or it is not for these names, or ends soon.

    Raises APIError, TransportError.
    """
    while True:
        try:
            found = await client.get(Secret, CERTIFICATE_SECRET, namespace)
        except NotFound:
            found = None
        pair = None if found is None else _pair(found)
        if pair is not None and pair.serves(names, clock):
            return pair
        fresh = self_signed(names[0], "ketch", names, clock)
        metadata = ObjectMeta(name=CERTIFICATE_SECRET, namespace=namespace)
        if found is not None:
            metadata = found.metadata
        data = {CERTIFICATE: _encoded(fresh.certificate), KEY: _encoded(fresh.key)}
        secret = Secret(metadata=metadata, type=TYPE, data=data)
        try:
            await (client.create(secret) if found is None else client.update(secret))
        except (AlreadyExists, Conflict):
            continue  # another replica was quicker
        return fresh


def _encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _pair(secret: Secret) -> ServingPair | None:
    try:
        return ServingPair(base64.b64decode(secret.data[CERTIFICATE]), base64.b64decode(secret.data[KEY]))
    except (KeyError, binascii.Error):
        return None
