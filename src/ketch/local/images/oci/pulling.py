"""An image from a registry into the store."""

import fcntl
import os
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from ketch.local.images.oci.credentials import ANONYMOUS, Credentials, matching
from ketch.local.images.oci.errors import NotFound, OCIError, PlatformMissing, RegistryError, Unauthorized
from ketch.local.images.oci.manifests import (
    Descriptor,
    Manifest,
    choose,
    matches,
    own_platform,
    parse_configuration,
    parse_manifest,
)
from ketch.local.images.oci.progress import Progress, silent
from ketch.local.images.oci.references import ImageName
from ketch.local.images.oci.registry import Repository
from ketch.local.images.oci.settings import Endpoint, Registry, endpoints
from ketch.local.images.oci.store import LOCK_SUFFIX, PULLED, PULLED_BY_DIGEST, Store, StoredImage

TOGETHER = 3
"""Layers that are downloaded at once."""

MOST_INDEXES = 5
ADVICE = (
    "give a Secret of type kubernetes.io/dockerconfigjson in imagePullSecrets, "
    "or pull it yourself: ketch image pull --username USER --password-stdin"
)


def pull(
    store: Store,
    name: ImageName,
    credentials: Sequence[Credentials] = (),
    settings: Mapping[str, Registry] | None = None,
    progress: Progress = silent,
) -> StoredImage:
    """Have the image that the registry has by this name now; what is there of it is not fetched again.

    Each of the credentials that may fit is tried, then none. Raises OCIError.
    """
    last: RegistryError | None = None
    for endpoint in endpoints(name.registry, settings or {}):
        try:
            return _pull_from(store, name, endpoint, credentials, progress)
        except RegistryError as error:
            # A mirror may lack what the registry has; a registry on this machine may speak plain HTTP only.
            last = error
            if isinstance(error, NotFound | Unauthorized) and not endpoint.mirror:
                break
    assert last is not None
    raise _explained(last, name)


def _explained(error: RegistryError, name: ImageName) -> RegistryError:
    if isinstance(error, Unauthorized):
        return Unauthorized(f"{error}: {ADVICE}")
    if isinstance(error, NotFound):
        wanted = f"digest {name.digest}" if name.digest else f'tag "{name.tag}"'
        return NotFound(f'{error}: check repository "{name.repository}" and {wanted}')
    return error


def _pull_from(
    store: Store, name: ImageName, endpoint: Endpoint, credentials: Sequence[Credentials], progress: Progress
) -> StoredImage:
    refused: Unauthorized | None = None
    for each in (*matching(name, credentials), ANONYMOUS):
        with Repository(endpoint, name.repository, each) as repository:
            try:
                found = _manifest(repository, name)
            except Unauthorized as error:
                refused = refused or error
                continue
            return _fetch(store, repository, name, found, progress)
    assert refused is not None
    raise refused


def _manifest(repository: Repository, name: ImageName) -> tuple[Manifest, Sequence[str]]:
    """The manifest for this machine, and the digests by which the image is known: the one that was asked for first."""
    data, digest = repository.manifest(name.wanted)
    digests = [digest]
    for _ in range(MOST_INDEXES):
        found = parse_manifest(data, f"{name.place}@{digest}")
        if found.manifests is None:
            return found, digests
        top = choose(found.manifests, own_platform(), str(name))
        data, digest = repository.manifest(top.digest)
        digests.append(digest)
    raise RegistryError(f"{name}: indexes of indexes of indexes")


def _fetch(
    store: Store,
    repository: Repository,
    name: ImageName,
    found: tuple[Manifest, Sequence[str]],
    progress: Progress,
) -> StoredImage:
    manifest, digests = found
    assert manifest.config is not None
    config = repository.document(manifest.config.digest)
    configuration = parse_configuration(config, f"the configuration of {name}")
    if not matches(configuration.platform, own_platform()):
        raise PlatformMissing(f"{name} is made for {configuration.platform}, this machine is {own_platform()}")
    diff_ids = configuration.rootfs.diff_ids
    if len(diff_ids) != len(manifest.layers):
        raise OCIError(f"{name} has {len(manifest.layers)} layers, but its configuration names {len(diff_ids)}")
    pairs = dict(zip(diff_ids, manifest.layers, strict=True))
    with store.adding():
        missing = [(digest, layer) for digest, layer in pairs.items() if not store.has_layer(digest)]
        progress(f"{name}: {len(missing)} of {len(pairs)} layers to fetch")
        with ThreadPoolExecutor(TOGETHER) as pool:
            works = [pool.submit(_layer, store, repository, digest, layer) for digest, layer in missing]
            try:
                for number, work in enumerate(works, 1):
                    work.result()
                    progress(f"{name}: layer {number} of {len(missing)}")
            except BaseException:
                for work in works:
                    work.cancel()
                raise
        return store.add([name], config, digests, origin=PULLED_BY_DIGEST if name.digest else PULLED)[0]


def _layer(store: Store, repository: Repository, digest: str, layer: Descriptor) -> None:
    """Download a layer and unpack it; whoever wants the same blob waits, and finds it done."""
    path = store.download_path(layer.digest)
    with _alone(path):
        if store.has_layer(digest):
            return
        repository.download(layer.digest, path)
        with path.open("rb") as source:
            store.add_layer(source, digest)
        path.unlink(missing_ok=True)


@contextmanager
def _alone(path: Path) -> Generator[None]:
    """While nobody else writes the file."""
    lock = path.with_name(f"{path.name}{LOCK_SUFFIX}")
    descriptor = os.open(lock, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
