"""What is configured of remote stores, as values: places, where their credentials are, and who carries. Pure."""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from ketch.metadata.stores.table import Connection, Kind, Place, Table, place_of

IMAGE: Final = "ketch.dev/transfer"
"""What the carrying containers run in: ``python3 -m ketch.pipelines.transfer`` must work there."""

GRACE_SECONDS: Final = 1800
"""How long a step's outputs may take to upload."""

WEB: Final = ("http", "https")
"""Schemes whose data is fetched without any configuration."""

STORES: Final = "KETCH_STORES"
"""The variable in which the carrying containers have the table; its credentials are names of other variables."""

READY: Final = "/tmp/ketch-transfer-ready"  # noqa: S108  # the container's own
"""Exists in the sidecar once it would upload what is there."""

FILE: Final = "file"


class SecretKey(msgspec.Struct, frozen=True):
    """One value in a Secret of the run's namespace."""

    name: str
    key: str


class Source(msgspec.Struct, frozen=True):
    """A place without its credentials, and where each of them is; none: the environment of whoever connects tells."""

    place: Place
    secrets: Mapping[str, SecretKey] = {}


class Carriage(msgspec.Struct, frozen=True, kw_only=True):
    """How data gets to a step and from it: from which stores, and by which image.

    ``keeps_logs``: there is somebody who puts logs away before pods go.
    """

    sources: Sequence[Source] = ()
    image: str = IMAGE
    grace_seconds: int = GRACE_SECONDS
    keeps_logs: bool = False

    @property
    def table(self) -> Table:
        """The places alone."""
        return [source.place for source in self.sources]

    def is_remote(self, uri: str) -> bool:
        """Whether the URI's data is in a remote store."""
        return bool(self.sources) and place_of(self.table, uri) is not None

    def is_carried(self, uri: str) -> bool:
        """Whether a step that reads the URI has its data brought by an init container."""
        return uri.partition("://")[0] in WEB or self.is_remote(uri)


KUBEFLOW_MINIO: Final = Source(
    Place(
        scheme="minio",
        connection=Connection(
            kind=Kind.S3, endpoint="minio-service.kubeflow:9000", region="minio", plain_http=True, path_style=True
        ),
    ),
    {
        "access_key": SecretKey("mlpipeline-minio-artifact", "accesskey"),
        "secret_key": SecretKey("mlpipeline-minio-artifact", "secretkey"),
    },
)
"""Where Kubeflow's own manifests put what is configured nowhere: for clusters, which have no store that is here."""

HERE: Final = Carriage()
"""Nothing remote is configured."""
