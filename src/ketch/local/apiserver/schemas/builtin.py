"""The built-in resources that are served: what discovery says of them and OpenAPI does not."""

from collections.abc import Sequence
from typing import NamedTuple

REVIEW = ("create",)
READ_ONLY = ("get", "list")
ALL = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


class KindInfo(NamedTuple):
    """One resource of one group version."""

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool = True
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    has_status: bool = False
    has_scale: bool = False
    verbs: tuple[str, ...] = ALL
    storage: str = ""
    stored_version: str = ""

    @property
    def singular(self) -> str:
        """The lower-case kind."""
        return self.kind.lower()


_EVERYTHING = ("all",)
REGISTRATION = "admissionregistration.k8s.io"

CORE = (
    KindInfo("", "v1", "Pod", "pods", short_names=("po",), categories=_EVERYTHING, has_status=True),
    KindInfo("", "v1", "Service", "services", short_names=("svc",), categories=_EVERYTHING, has_status=True),
    KindInfo("", "v1", "Endpoints", "endpoints", short_names=("ep",)),
    KindInfo("", "v1", "Namespace", "namespaces", namespaced=False, short_names=("ns",), has_status=True),
    KindInfo("", "v1", "Node", "nodes", namespaced=False, short_names=("no",), has_status=True),
    KindInfo("", "v1", "Event", "events", short_names=("ev",)),
    KindInfo("", "v1", "ConfigMap", "configmaps", short_names=("cm",)),
    KindInfo("", "v1", "Secret", "secrets"),
    KindInfo("", "v1", "ServiceAccount", "serviceaccounts", short_names=("sa",)),
    KindInfo("", "v1", "PersistentVolume", "persistentvolumes", namespaced=False, short_names=("pv",), has_status=True),
    KindInfo("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims", short_names=("pvc",), has_status=True),
    KindInfo("", "v1", "LimitRange", "limitranges", short_names=("limits",)),
    KindInfo("", "v1", "ResourceQuota", "resourcequotas", short_names=("quota",), has_status=True),
    KindInfo("", "v1", "PodTemplate", "podtemplates"),
    KindInfo(
        "",
        "v1",
        "ReplicationController",
        "replicationcontrollers",
        short_names=("rc",),
        categories=_EVERYTHING,
        has_status=True,
        has_scale=True,
    ),
)
WORKLOADS = (
    KindInfo("apps", "v1", "Deployment", "deployments", True, ("deploy",), _EVERYTHING, True, True),
    KindInfo("apps", "v1", "ReplicaSet", "replicasets", True, ("rs",), _EVERYTHING, True, True),
    KindInfo("apps", "v1", "StatefulSet", "statefulsets", True, ("sts",), _EVERYTHING, True, True),
    KindInfo("apps", "v1", "DaemonSet", "daemonsets", True, ("ds",), _EVERYTHING, True),
    KindInfo("apps", "v1", "ControllerRevision", "controllerrevisions"),
    KindInfo("batch", "v1", "Job", "jobs", True, (), _EVERYTHING, True),
    KindInfo("batch", "v1", "CronJob", "cronjobs", True, ("cj",), _EVERYTHING, True),
    KindInfo(
        "autoscaling", "v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers", True, ("hpa",), _EVERYTHING, True
    ),
    KindInfo(
        "autoscaling",
        "v1",
        "HorizontalPodAutoscaler",
        "horizontalpodautoscalers",
        True,
        ("hpa",),
        _EVERYTHING,
        True,
        storage="autoscaling/horizontalpodautoscalers",
        stored_version="autoscaling/v2",
    ),
    KindInfo("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets", True, ("pdb",), (), True),
)
CLUSTER = (
    KindInfo("coordination.k8s.io", "v1", "Lease", "leases"),
    KindInfo("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices"),
    KindInfo("events.k8s.io", "v1", "Event", "events", short_names=("ev",), storage="/events", stored_version="v1"),
    KindInfo("networking.k8s.io", "v1", "Ingress", "ingresses", True, ("ing",), (), True),
    KindInfo("networking.k8s.io", "v1", "IngressClass", "ingressclasses", False),
    KindInfo("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies", True, ("netpol",)),
    KindInfo(REGISTRATION, "v1", "MutatingWebhookConfiguration", "mutatingwebhookconfigurations", False),
    KindInfo(REGISTRATION, "v1", "ValidatingWebhookConfiguration", "validatingwebhookconfigurations", False),
    KindInfo(REGISTRATION, "v1", "ValidatingAdmissionPolicy", "validatingadmissionpolicies", False, has_status=True),
    KindInfo(REGISTRATION, "v1", "ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings", False),
    KindInfo("node.k8s.io", "v1", "RuntimeClass", "runtimeclasses", False),
    KindInfo("scheduling.k8s.io", "v1", "PriorityClass", "priorityclasses", False, ("pc",)),
    KindInfo("storage.k8s.io", "v1", "StorageClass", "storageclasses", False, ("sc",)),
    KindInfo("storage.k8s.io", "v1", "CSIDriver", "csidrivers", False),
    KindInfo("storage.k8s.io", "v1", "CSINode", "csinodes", False),
    KindInfo("storage.k8s.io", "v1", "VolumeAttachment", "volumeattachments", False, (), (), True),
    KindInfo("rbac.authorization.k8s.io", "v1", "Role", "roles"),
    KindInfo("rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings"),
    KindInfo("rbac.authorization.k8s.io", "v1", "ClusterRole", "clusterroles", False),
    KindInfo("rbac.authorization.k8s.io", "v1", "ClusterRoleBinding", "clusterrolebindings", False),
    KindInfo(
        "apiextensions.k8s.io",
        "v1",
        "CustomResourceDefinition",
        "customresourcedefinitions",
        False,
        ("crd", "crds"),
        ("api-extensions",),
        True,
    ),
)
ADMINISTRATION = (
    KindInfo(REGISTRATION, "v1", "MutatingAdmissionPolicy", "mutatingadmissionpolicies", False),
    KindInfo(REGISTRATION, "v1", "MutatingAdmissionPolicyBinding", "mutatingadmissionpolicybindings", False),
    KindInfo(
        "apiregistration.k8s.io",
        "v1",
        "APIService",
        "apiservices",
        False,
        categories=("api-extensions",),
        has_status=True,
    ),
    KindInfo(
        "certificates.k8s.io",
        "v1",
        "CertificateSigningRequest",
        "certificatesigningrequests",
        False,
        ("csr",),
        has_status=True,
    ),
    KindInfo("flowcontrol.apiserver.k8s.io", "v1", "FlowSchema", "flowschemas", False, has_status=True),
    KindInfo(
        "flowcontrol.apiserver.k8s.io",
        "v1",
        "PriorityLevelConfiguration",
        "prioritylevelconfigurations",
        False,
        has_status=True,
    ),
    KindInfo("storage.k8s.io", "v1", "CSIStorageCapacity", "csistoragecapacities"),
    KindInfo("storage.k8s.io", "v1", "VolumeAttributesClass", "volumeattributesclasses", False, ("vac",)),
)
REVIEWS = (
    KindInfo("authentication.k8s.io", "v1", "TokenReview", "tokenreviews", False, verbs=REVIEW),
    KindInfo("authentication.k8s.io", "v1", "SelfSubjectReview", "selfsubjectreviews", False, verbs=REVIEW),
    KindInfo("authorization.k8s.io", "v1", "SubjectAccessReview", "subjectaccessreviews", False, verbs=REVIEW),
    KindInfo("authorization.k8s.io", "v1", "SelfSubjectAccessReview", "selfsubjectaccessreviews", False, verbs=REVIEW),
    KindInfo("authorization.k8s.io", "v1", "LocalSubjectAccessReview", "localsubjectaccessreviews", verbs=REVIEW),
    KindInfo("authorization.k8s.io", "v1", "SelfSubjectRulesReview", "selfsubjectrulesreviews", False, verbs=REVIEW),
)


def builtin_kinds() -> Sequence[KindInfo]:
    """Every built-in resource, groups in the order in which discovery names them."""
    return (*CORE, *WORKLOADS, *CLUSTER, *ADMINISTRATION, *REVIEWS)
