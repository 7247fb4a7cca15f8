"""Pairs of keys by which the processes of a job let each other in over ssh."""

import base64
from collections.abc import Mapping
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ec import SECP521R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

SECRET_TYPE: Final = "kubernetes.io/ssh-auth"  # noqa: S105  # the name of a kind of secret
PRIVATE_KEY: Final = "ssh-privatekey"
PUBLIC_KEY: Final = "ssh-publickey"


def new_pair() -> Mapping[str, str]:
    """A new pair (ECDSA on P-521) as the data of a Secret: base64 by key."""
    private = generate_private_key(SECP521R1())
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    public = private.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    return {
        PRIVATE_KEY: base64.b64encode(pem).decode(),
        PUBLIC_KEY: base64.b64encode(public + b"\n").decode(),
    }
