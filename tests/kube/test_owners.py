"""Owner references."""

from ketch.kube.meta import ObjectMeta, OwnerReference
from ketch.kube.owners import controlled_by, controller_of, owner_reference
from ketch.kube.types.apps import ReplicaSet
from ketch.kube.types.core import Node, PersistentVolume, Pod

OWNER = ReplicaSet(metadata=ObjectMeta(name="rs", namespace="n", uid="u1"))


def test_the_controller_is_found_again():
    pod = controlled_by(OWNER, Pod(metadata=ObjectMeta(name="p")))
    assert controller_of(pod) == owner_reference(OWNER)
    assert owner_reference(OWNER).api_version == "apps/v1"
    assert pod.metadata.namespace == "n"


def test_other_owners_stay_and_an_older_controller_goes():
    other = OwnerReference(api_version="v1", kind="Node", name="x", uid="u2")
    older = OwnerReference(api_version="v1", kind="Node", name="y", uid="u3", controller=True)
    pod = controlled_by(OWNER, Pod(metadata=ObjectMeta(name="p", namespace="n", owner_references=(other, older))))
    assert pod.metadata.owner_references == (other, owner_reference(OWNER))


def test_cluster_scoped_objects_get_no_namespace():
    node = Node(metadata=ObjectMeta(name="node", uid="u4"))
    volume = controlled_by(node, PersistentVolume(metadata=ObjectMeta(name="v")))
    assert volume.metadata.namespace == ""


def test_without_a_controller_there_is_none():
    assert controller_of(Pod()) is None
