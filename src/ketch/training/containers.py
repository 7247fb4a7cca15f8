"""Changing some containers of a pod's spec. Pure."""

from collections.abc import Callable, Collection

import msgspec

from ketch.kube.types.containers import Container
from ketch.kube.types.pods import PodSpec
from ketch.kube.types.volumes import Volume


def in_containers(
    spec: PodSpec, names: Collection[str], change: Callable[[Container], Container], volume: Volume
) -> PodSpec:
    """``spec`` with ``volume``, and with its containers of these names changed."""
    containers = tuple(change(each) if each.name in names else each for each in spec.containers)
    return msgspec.structs.replace(spec, containers=containers, volumes=(*spec.volumes, volume))
