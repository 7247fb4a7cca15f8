"""What can go wrong with OCI images.

OCIError
├── ArchiveInvalid    what is to be imported is no image, or not a whole one
├── LayerInvalid      a layer's content is not what its image says, or would leave its place
├── DigestMismatch    content is not what its digest says
├── PlatformMissing   the image is not made for this machine
├── NoSpace           the disk is full
├── RegistryError     a registry cannot be reached, or refuses
│   ├── NotFound        it has no such image
│   └── Unauthorized    it wants other credentials
└── StoreBusy         somebody else works in the store, longer than was waited
"""

import errno

FULL = (errno.ENOSPC, errno.EDQUOT)
"""How the kernel says that a disk is full."""


class OCIError(Exception):
    """The message is a sentence for the user."""


class ArchiveInvalid(OCIError):
    """What is to be imported is no image."""


class LayerInvalid(OCIError):
    """A layer's content cannot be unpacked."""


class DigestMismatch(OCIError):
    """Content is not what its digest says."""


class PlatformMissing(OCIError):
    """The image is not made for this machine."""


class NoSpace(OCIError):
    """The disk is full."""


class RegistryError(OCIError):
    """A registry cannot be reached, or refuses."""


class NotFound(RegistryError):
    """The registry has no such image."""


class Unauthorized(RegistryError):
    """The registry wants other credentials."""


class StoreBusy(OCIError):
    """Somebody else works in the store."""
