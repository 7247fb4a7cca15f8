"""What pods ask for beyond a container's ordinary rights: what is applied, what is refused, what changes nothing. Pure.

Containers have no capabilities, in namespaces of their own, and every user in them is the platform's outside: volumes
are open to whichever user a container is, so groups for them (fsGroup, supplementalGroups) have nothing to add.
"""

from collections.abc import Iterator, Mapping, Sequence

from ketch.kube.types.containers import Container, SecurityContext
from ketch.kube.types.core import Pod
from ketch.kube.types.pods import PodSecurityContext
from ketch.local.node.environment import ConfigError
from ketch.local.sandbox.spec import Mount

NOT_APPLIED = "SecurityContextNotApplied"
"""The reason of the event about what is asked for and changes nothing here."""

WRITABLE = ("scratch", "overlay", "tmpfs")
SAFE_SYSCTLS = frozenset(
    {
        "net.ipv4.ip_local_port_range",
        "net.ipv4.ip_local_reserved_ports",
        "net.ipv4.ip_unprivileged_port_start",
        "net.ipv4.ping_group_range",
        "net.ipv4.tcp_fin_timeout",
        "net.ipv4.tcp_keepalive_intvl",
        "net.ipv4.tcp_keepalive_probes",
        "net.ipv4.tcp_keepalive_time",
        "net.ipv4.tcp_rmem",
        "net.ipv4.tcp_syncookies",
        "net.ipv4.tcp_wmem",
    }
)
"""What a pod may set of its own network."""

IGNORED = {
    "seLinuxOptions": "SELinux labels",
    "appArmorProfile": "AppArmor profiles",
    "windowsOptions": "Windows",
}
NO_CONTEXT, NO_POD_CONTEXT = SecurityContext(), PodSecurityContext()


def refuse(pod: Pod, container: Container) -> None:
    """Raises ConfigError for what would mean something else here than its author relies on."""
    if pod.spec.host_pid:
        text = "shareProcessNamespace lets a pod's containers see each other's"
        raise ConfigError(f"hostPID: the processes of this machine are not shown to pods; {text}")
    contexts = (pod.spec.security_context, container.security_context)
    for profile in (context.seccomp_profile for context in contexts if context is not None):
        if profile.get("type") == "Localhost":
            raise ConfigError(
                f'seccompProfile: this node has no profile "{profile.get("localhostProfile", "")}": use RuntimeDefault'
            )


def not_applied(pod: Pod, container: Container) -> str:
    """What of the asked for rights the container does not get, as a sentence; empty when there is nothing to say."""
    found = list(_without(pod, container))
    return f"Container {container.name} runs without: {'; '.join(found)}" if found else ""


def _without(pod: Pod, container: Container) -> Iterator[str]:
    context = container.security_context or NO_CONTEXT
    if context.privileged:
        yield "privileged (no container here has rights on this machine)"
    if context.capabilities is not None and context.capabilities.add:
        yield f"capabilities {', '.join(context.capabilities.add)} (no container here has any)"
    if context.unknown_fields.get("procMount") == "Unmasked":
        yield "procMount Unmasked"
    if pod.spec.host_ipc:
        yield "hostIPC (its shared memory is its own)"
    of_pod = pod.spec.security_context or NO_POD_CONTEXT
    for name, what in IGNORED.items():
        if name in context.unknown_fields or name in of_pod.unknown_fields:
            yield f"{name} (this node has no {what})"


def read_only_targets(container: Container, mounts: Sequence[Mount], own: Sequence[Mount]) -> tuple[str, ...]:
    """Which of the image's ``mounts`` are closed to writing; what stands there of the container's ``own`` is not."""
    if not (container.security_context or NO_CONTEXT).read_only_root_filesystem:
        return ()
    covered = {mount.target.rstrip("/") for mount in own}
    targets = dict.fromkeys(("/", *(mount.target for mount in mounts if mount.kind in WRITABLE)))
    return tuple(target for target in targets if target.rstrip("/") not in covered)


def sysctls(pod: Pod, *, isolated: bool) -> Mapping[str, str]:
    """The kernel parameters of the pod's own network. Raises ConfigError for others."""
    context = pod.spec.security_context
    wanted = {each.name: each.value for each in context.sysctls} if context is not None else {}
    for name in wanted:
        if name not in SAFE_SYSCTLS or not isolated or pod.spec.host_network:
            why = "" if name not in SAFE_SYSCTLS else ": the pod has no network of its own"
            raise ConfigError(f'forbidden sysctl: "{name}" not allowlisted{why}')
    return wanted
