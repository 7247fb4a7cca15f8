"""core/v1: a container as a pod's spec asks for it and as its status reports it."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from msgspec import field

from ketch.kube.codec import KubeStruct
from ketch.kube.quantities import Quantity

IntOrString = int | str
NOTHING: Mapping[str, Any] = {}
NO_QUANTITIES: Mapping[str, Quantity] = {}


class ResourceRequirements(KubeStruct, frozen=True, kw_only=True):
    """What a container asks for and may use at most; quantities as text."""

    limits: Mapping[str, Quantity] = NO_QUANTITIES
    requests: Mapping[str, Quantity] = NO_QUANTITIES


class ObjectFieldSelector(KubeStruct, frozen=True, kw_only=True):
    """A field of the pod itself, as ``metadata.name``."""

    field_path: str
    api_version: str = ""


class ResourceFieldSelector(KubeStruct, frozen=True, kw_only=True):
    """A container's request or limit, as ``limits.cpu``."""

    resource: str
    container_name: str = ""
    divisor: str = ""


class KeySelector(KubeStruct, frozen=True, kw_only=True):
    """One key of a ConfigMap or Secret."""

    key: str
    name: str = ""
    optional: bool | None = None


class EnvVarSource(KubeStruct, frozen=True, kw_only=True):
    """Where a variable's value comes from: exactly one is set."""

    field_ref: ObjectFieldSelector | None = None
    resource_field_ref: ResourceFieldSelector | None = None
    config_map_key_ref: KeySelector | None = None
    secret_key_ref: KeySelector | None = None


class EnvVar(KubeStruct, frozen=True, kw_only=True):
    """One environment variable; ``$(NAME)`` in ``value`` refers to earlier ones."""

    name: str
    value: str = ""
    value_from: EnvVarSource | None = None


class LocalReference(KubeStruct, frozen=True, kw_only=True):
    """A ConfigMap or Secret of the same namespace."""

    name: str = ""
    optional: bool | None = None


class EnvFromSource(KubeStruct, frozen=True, kw_only=True):
    """All keys of a ConfigMap or Secret as variables, with ``prefix``."""

    prefix: str = ""
    config_map_ref: LocalReference | None = None
    secret_ref: LocalReference | None = None


class ContainerPort(KubeStruct, frozen=True, kw_only=True):
    """A port that a container listens on."""

    container_port: int
    name: str = ""
    protocol: str = "TCP"
    host_port: int = 0
    host_ip: str = field(default="", name="hostIP")


class VolumeMount(KubeStruct, frozen=True, kw_only=True):
    """A volume's place in a container."""

    name: str
    mount_path: str
    read_only: bool = False
    sub_path: str = ""
    sub_path_expr: str = ""
    mount_propagation: str | None = None


class ExecAction(KubeStruct, frozen=True, kw_only=True):
    """A command in the container; exit code 0 is success."""

    command: tuple[str, ...] = ()


class HTTPHeader(KubeStruct, frozen=True, kw_only=True):
    """One request header of a probe."""

    name: str
    value: str


class HTTPGetAction(KubeStruct, frozen=True, kw_only=True):
    """A GET; 200 to 399 is success. ``host`` defaults to the pod's address."""

    port: IntOrString
    path: str = ""
    host: str = ""
    scheme: str = ""
    http_headers: tuple[HTTPHeader, ...] = ()


class TCPSocketAction(KubeStruct, frozen=True, kw_only=True):
    """A connection; that it opens is success."""

    port: IntOrString
    host: str = ""


class GRPCAction(KubeStruct, frozen=True, kw_only=True):
    """A grpc.health.v1 check."""

    port: int
    service: str | None = None


class SleepAction(KubeStruct, frozen=True, kw_only=True):
    """A pause."""

    seconds: int


class Probe(KubeStruct, frozen=True, kw_only=True):
    """How to ask a container for its health. Zero means the API's default (the server fills it in)."""

    exec: ExecAction | None = None
    http_get: HTTPGetAction | None = None
    tcp_socket: TCPSocketAction | None = None
    grpc: GRPCAction | None = None
    initial_delay_seconds: int = 0
    timeout_seconds: int = 0
    period_seconds: int = 0
    success_threshold: int = 0
    failure_threshold: int = 0
    termination_grace_period_seconds: int | None = None


class LifecycleHandler(KubeStruct, frozen=True, kw_only=True):
    """What to run at a moment of a container's life: one is set."""

    exec: ExecAction | None = None
    http_get: HTTPGetAction | None = None
    tcp_socket: TCPSocketAction | None = None
    sleep: SleepAction | None = None


class Lifecycle(KubeStruct, frozen=True, kw_only=True):
    """Hooks after the start and before the stop."""

    post_start: LifecycleHandler | None = None
    pre_stop: LifecycleHandler | None = None
    stop_signal: str | None = None


class Capabilities(KubeStruct, frozen=True, kw_only=True):
    """POSIX capabilities to add and to drop."""

    add: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()


class SecurityContext(KubeStruct, frozen=True, kw_only=True):
    """A container's privileges; what is set here goes before the pod's."""

    run_as_user: int | None = None
    run_as_group: int | None = None
    run_as_non_root: bool | None = None
    privileged: bool | None = None
    read_only_root_filesystem: bool | None = None
    allow_privilege_escalation: bool | None = None
    capabilities: Capabilities | None = None
    seccomp_profile: Mapping[str, Any] = NOTHING


class ExitCodes(KubeStruct, frozen=True, kw_only=True):
    """Exit codes by which a rule is chosen: ``operator`` is In or NotIn."""

    operator: str = ""
    values: tuple[int, ...] = ()


class ContainerRestartRule(KubeStruct, frozen=True, kw_only=True):
    """What follows certain ends of a container, whatever its policy says."""

    action: str = ""
    exit_codes: ExitCodes | None = None


class Container(KubeStruct, frozen=True, kw_only=True):
    """One container; among the init containers ``restart_policy`` "Always" makes it a sidecar.

    Elsewhere that goes before the pod's policy, and ``restart_policy_rules`` before both.
    """

    name: str
    image: str = ""
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    working_dir: str = ""
    ports: tuple[ContainerPort, ...] = ()
    env_from: tuple[EnvFromSource, ...] = ()
    env: tuple[EnvVar, ...] = ()
    resources: ResourceRequirements = ResourceRequirements()
    restart_policy: str | None = None
    restart_policy_rules: tuple[ContainerRestartRule, ...] = ()
    volume_mounts: tuple[VolumeMount, ...] = ()
    liveness_probe: Probe | None = None
    readiness_probe: Probe | None = None
    startup_probe: Probe | None = None
    lifecycle: Lifecycle | None = None
    termination_message_path: str = ""
    termination_message_policy: str = ""
    image_pull_policy: str = ""
    security_context: SecurityContext | None = None
    stdin: bool = False
    stdin_once: bool = False
    tty: bool = False


class EphemeralContainer(Container, frozen=True, kw_only=True):
    """A container that joins a pod that is there already, to look at it; it sees the processes of its target."""

    target_container_name: str = ""


class ContainerStateWaiting(KubeStruct, frozen=True, kw_only=True):
    """Not yet running, or waiting to run again."""

    reason: str = ""
    message: str = ""


class ContainerStateRunning(KubeStruct, frozen=True, kw_only=True):
    """Running since ``started_at``."""

    started_at: datetime | None = None


class ContainerStateTerminated(KubeStruct, frozen=True, kw_only=True):
    """Ended. ``exit_code`` is required by the API: 0 is sent as well."""

    exit_code: int | None = None
    signal: int = 0
    reason: str = ""
    message: str = ""
    started_at: datetime | None = None
    finished_at: datetime | None = None
    container_id: str = field(default="", name="containerID")


class ContainerState(KubeStruct, frozen=True, kw_only=True):
    """Exactly one is set; none means waiting."""

    waiting: ContainerStateWaiting | None = None
    running: ContainerStateRunning | None = None
    terminated: ContainerStateTerminated | None = None


class ContainerStatus(KubeStruct, frozen=True, kw_only=True):
    """What became of one container. The API requires ready, restartCount, image and imageID: None is "not said"."""

    name: str
    state: ContainerState = ContainerState()
    last_state: ContainerState = ContainerState()
    ready: bool | None = None
    restart_count: int | None = None
    image: str | None = None
    image_id: str | None = field(default=None, name="imageID")
    container_id: str = field(default="", name="containerID")
    started: bool | None = None
