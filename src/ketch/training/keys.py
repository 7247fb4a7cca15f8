"""Pairs of keys by which the processes of a job let each other in over ssh."""

import base64
from collections.abc import Mapping
from typing import Final

SECRET_TYPE: Final = "kubernetes.io/ssh-auth"  # noqa: S105  # the name of a kind of secret
PRIVATE_KEY: Final = "ssh-privatekey"
PUBLIC_KEY: Final = "ssh-publickey"


def new_pair() -> Mapping[str, str]:
    """A new pair (ECDSA on P-521) as the data of a Secret: base64 by key."""
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415  # deferred: 15 ms of every start
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415  # as above

    encoding, form = serialization.Encoding, serialization.PrivateFormat.TraditionalOpenSSL
    private = ec.generate_private_key(ec.SECP521R1())
    pem = private.private_bytes(encoding.PEM, form, serialization.NoEncryption())
    public = private.public_key().public_bytes(encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return {
        PRIVATE_KEY: base64.b64encode(pem).decode(),
        PUBLIC_KEY: base64.b64encode(public + b"\n").decode(),
    }
