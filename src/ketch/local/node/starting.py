"""One run of a container as the sandbox wants it: command, environment, mounts, limits. Pure but for small files."""

import os
import shutil
import signal
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from ketch.kube.quantities import milli, whole
from ketch.kube.types.containers import Container, VolumeMount
from ketch.kube.types.core import Pod
from ketch.local.images.image import IMAGE_ID, Image
from ketch.local.images.oci.tree import TooManyLinks
from ketch.local.images.oci.users import User, UserUnknown, find_user
from ketch.local.images.rootfs import CERTIFICATE_SWITCHES, CERTIFICATE_VARIABLES
from ketch.local.images.stored import signal_number
from ketch.local.network.resolvconf import resolv_conf
from ketch.local.network.wire import NetworkInfo
from ketch.local.node.environment import ConfigError, Surroundings, build_environment, expand, with_given
from ketch.local.node.logs import files_of
from ketch.local.node.privileges import read_only_targets, refuse, sysctls
from ketch.local.node.volumes.places import Folders, Place
from ketch.local.sandbox.spec import ContainerSpec, Mount

LONGEST_HOSTNAME = 63
ORDINARY_USER = 1000
"""Who a container is that must not be root and does not say who else: images here name no user."""

TERMINATION_LOG = "/dev/termination-log"
HOST_RESOLV_CONF = Path("/etc/resolv.conf")
HOSTS = """\
127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
"""
ATTEMPT, IMAGE, STOP_SIGNAL = "attempt", "image", "stop-signal"
"""With ``IMAGE_ID``, what a container's records keep for the agent that adopts it."""

HOST_TRUST = frozenset({*CERTIFICATE_VARIABLES, *CERTIFICATE_SWITCHES})
"""Variables that name files of this machine, which an image of its own does not have."""

NON_ROOT_IMAGE = "container has runAsNonRoot and image will run as root"
FURNISHED = ("/dev/", "/proc/", "/sys/")
"""Where nothing of an image is seen."""


@dataclass(frozen=True)
class Setting:
    """What a container starts in: its pod's volumes and network, what this node gives to every pod, and devices."""

    folders: Folders
    places: Mapping[str, Place]
    network: NetworkInfo
    around: Surroundings
    variables: Mapping[str, str]
    devices: tuple[Mount, ...] = ()


def hostname(pod: Pod) -> str:
    """The name that the pod's containers have for themselves."""
    return (pod.spec.hostname or pod.metadata.name)[:LONGEST_HOSTNAME].rstrip("-.")


def container_directory(folders: Folders, uid: str, name: str, attempt: int) -> Path:
    """Where one run of a container has its records."""
    return folders.of_pod(uid) / "containers" / name / str(attempt)


def log_path(folders: Folders, uid: str, name: str, attempt: int) -> Path:
    """What one run of a container printed."""
    return folders.of_pod(uid) / "logs" / name / f"{attempt}.log"


def termination_path(folders: Folders, uid: str, name: str, attempt: int) -> Path:
    """The container's last words, written by itself."""
    return folders.of_pod(uid) / "termination" / f"{name}-{attempt}"


def forget_runs(folders: Folders, uid: str, name: str, last: int) -> None:
    """Remove what is kept of a container's runs up to number ``last``."""
    for attempt in range(last, -1, -1):
        records = container_directory(folders, uid, name, attempt)
        if not records.exists():
            return  # those before it went earlier
        shutil.rmtree(records, ignore_errors=True)
        for path in (*files_of(log_path(folders, uid, name, attempt)), termination_path(folders, uid, name, attempt)):
            path.unlink(missing_ok=True)


def container_spec(
    pod: Pod, container: Container, attempt: int, image: Image, setting: Setting, processes_of: Path | None = None
) -> ContainerSpec:
    """The run ``attempt`` of ``container``, maybe among the processes of another. Raises ConfigError."""
    uid, name = pod.metadata.uid, container.name
    own = build_environment(pod, container, setting.around)
    terminal = {"TERM": "xterm"} if container.tty else {}
    of_image = _user_of_image(pod, container, image)
    user, group = (of_image.user, of_image.group) if of_image else _identity(pod, container)
    home = {"HOME": of_image.home} if of_image else {}
    given = {each: value for each, value in setting.variables.items() if image.root is None or each not in HOST_TRUST}
    env = {**home, **image.env, "HOSTNAME": hostname(pod), **terminal} | with_given(own, given)
    argv = _argv(container, image, env)
    refuse(pod, container)
    if processes_of is not None and (user or group):
        raise ConfigError(
            f"container {name}: only root, who has no rights here, can be among the processes of others: runAsUser "
            "and runAsGroup must be 0 with shareProcessNamespace and targetContainerName"
        )
    mounts = tuple(_mounts(pod, container, attempt, setting, env))
    limits = container.resources.limits
    working_dir = container.working_dir or image.working_dir
    return ContainerSpec(
        directory=container_directory(setting.folders, uid, name, attempt),
        argv=argv,
        env=env,
        log=log_path(setting.folders, uid, name, attempt),
        cwd=working_dir,
        mounts=_in_image(image, (*_directories(working_dir), *image.mounts, *mounts)),
        hostname=hostname(pod),
        user=user,
        group=group,
        memory_bytes=whole(limits["memory"]) if "memory" in limits else None,
        cpu_millis=milli(limits["cpu"]) if "cpu" in limits else None,
        stdin=container.stdin,
        stdin_once=container.stdin_once,
        tty=container.tty,
        processes_of=processes_of,
        read_only=read_only_targets(container, image.mounts, mounts),
        sysctls=sysctls(pod, isolated=setting.network.mode == "isolated"),
        extra={
            ATTEMPT: str(attempt),
            IMAGE: container.image,
            IMAGE_ID: image.digest,
            **_own_stop_signal(container, image),
        },
    )


def _argv(container: Container, image: Image, env: Mapping[str, str]) -> tuple[str, ...]:
    """The container's command in place of the image's entrypoint and arguments, its arguments in place of those."""
    command = [expand(word, env) for word in container.command] or list(image.entrypoint)
    default = image.argv if not container.command else ()
    argv = (*command, *([expand(word, env) for word in container.args] or default))
    if not argv:
        raise ConfigError(f"container {container.name}: no command specified")
    return argv


def _own_stop_signal(container: Container, image: Image) -> Mapping[str, str]:
    said = container.lifecycle.stop_signal if container.lifecycle is not None else None
    number = signal_number(said) if said else image.stop_signal
    return {STOP_SIGNAL: str(number)} if number is not None else {}


def stop_signal(extra: Mapping[str, str]) -> int:
    """The signal by which a container is asked to end: its own, its image's, or SIGTERM."""
    return int(extra.get(STOP_SIGNAL, signal.SIGTERM))


def _user_of_image(pod: Pod, container: Container, image: Image) -> User | None:
    """Who the process is in an image's own file system; None without one. Raises ConfigError."""
    if image.root is None:
        return None
    contexts = [each for each in (container.security_context, pod.spec.security_context) if each is not None]
    user = next((each.run_as_user for each in contexts if each.run_as_user is not None), None)
    group = next((each.run_as_group for each in contexts if each.run_as_group is not None), None)
    word = image.user if user is None else str(user)
    try:
        found = find_user(word, image.root.read("/etc/passwd"), image.root.read("/etc/group"))
    except UserUnknown as error:
        raise ConfigError(f"container {container.name}: {error}") from error
    if found.user == 0 and next((each.run_as_non_root for each in contexts if each.run_as_non_root is not None), False):
        whose = "container's runAsUser breaks non-root policy" if user == 0 else NON_ROOT_IMAGE
        raise ConfigError(f"{whose} (pod: {pod.metadata.name}, container: {container.name})")
    return found if group is None else found._replace(group=group)


def _in_image(image: Image, mounts: Sequence[Mount]) -> tuple[Mount, ...]:
    """The mounts where links of the image's own file system lead, as a process in it would see them."""
    root = image.root
    if root is None:
        return tuple(mounts)

    def target(path: str) -> str:
        return path if path == "/" or path.startswith(FURNISHED) else root.resolve(path)

    try:
        return tuple(replace(each, target=target(each.target)) for each in mounts)
    except TooManyLinks as error:
        raise ConfigError(str(error)) from error


def _identity(pod: Pod, container: Container) -> tuple[int | None, int | None]:
    """User and group: the container's own word, else the pod's. Raises ConfigError for root where it may not be."""
    of_pod, of_container = pod.spec.security_context, container.security_context
    contexts = [context for context in (of_container, of_pod) if context is not None]
    user = next((context.run_as_user for context in contexts if context.run_as_user is not None), None)
    group = next((context.run_as_group for context in contexts if context.run_as_group is not None), None)
    if next((context.run_as_non_root for context in contexts if context.run_as_non_root is not None), False):
        if user == 0:
            raise ConfigError(f"container's runAsUser breaks non-root policy (container: {container.name})")
        user = ORDINARY_USER if user is None else user
    return user, group


def _directories(working_dir: str) -> Iterator[Mount]:
    if working_dir != "/":
        yield Mount("directory", working_dir)


def _mounts(pod: Pod, container: Container, attempt: int, setting: Setting, env: Mapping[str, str]) -> Iterator[Mount]:
    folders, uid = setting.folders, pod.metadata.uid
    for name, content in _pod_files(pod, setting):
        path = folders.of_pod(uid) / "etc" / name
        if not path.exists() or path.read_text() != content:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            path.write_text(content)
        yield Mount("bind", f"/etc/{name}", str(path))
    words = termination_path(folders, uid, container.name, attempt)
    words.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    words.touch()
    yield Mount("bind", container.termination_message_path or TERMINATION_LOG, str(words))
    yield from setting.devices
    for mount in container.volume_mounts:
        yield _volume_mount(mount, setting.places, env)


def _pod_files(pod: Pod, setting: Setting) -> Iterator[tuple[str, str]]:
    name = hostname(pod)
    lines = [HOSTS]
    if setting.around.pod_ip and not pod.spec.host_network:
        names = name
        if pod.spec.subdomain:
            names = "\t".join((*_full_names(name, pod.spec.subdomain, pod.metadata.namespace), name))
        lines.append(f"{setting.around.pod_ip}\t{names}\n")
    lines += [f"{alias.ip}\t{' '.join(alias.hostnames)}\n" for alias in pod.spec.host_aliases]
    yield "hosts", "".join(lines)
    yield "hostname", f"{name}\n"
    yield "resolv.conf", _resolv_conf(pod, setting.network)


def _full_names(name: str, subdomain: str, namespace: str) -> Iterator[str]:
    """The pod's name below its service, the whole first: a pod knows itself before the cluster's DNS does."""
    short = f"{name}.{subdomain}"
    for ending in (f".{namespace}.svc.cluster.local", f".{namespace}.svc", f".{namespace}", ""):
        yield f"{short}{ending}"


def _resolv_conf(pod: Pod, network: NetworkInfo) -> str:
    policy = pod.spec.dns_policy or "ClusterFirst"
    on_host = pod.spec.host_network and policy != "ClusterFirstWithHostNet"
    if policy == "None":
        text = ""
    elif network.mode == "host" or policy == "Default" or on_host:
        text = HOST_RESOLV_CONF.read_text() if HOST_RESOLV_CONF.exists() else ""
    else:
        text = resolv_conf(pod.metadata.namespace)
    extra = pod.spec.dns_config
    if extra is not None:
        text += "".join(f"nameserver {address}\n" for address in extra.nameservers)
        text = _with_searches(text, extra.searches)
        options = [option.name + (f":{option.value}" if option.value else "") for option in extra.options]
        if options:
            text += f"options {' '.join(options)}\n"
    return text


def _with_searches(text: str, more: Sequence[str]) -> str:
    """One line of domains: of several a resolver heeds the last alone."""
    lines = text.splitlines()
    domains = [domain for line in lines if line.startswith("search ") for domain in line.split()[1:]]
    domains = list(dict.fromkeys((*domains, *more)))
    others = [line for line in lines if not line.startswith("search ")]
    return "".join(f"{line}\n" for line in (*others, *([f"search {' '.join(domains)}"] if domains else ())))


def _volume_mount(mount: VolumeMount, places: Mapping[str, Place], env: Mapping[str, str]) -> Mount:
    place = places.get(mount.name)
    if place is None:
        raise ConfigError(f'volume "{mount.name}" that is mounted at {mount.mount_path} is not a volume of the pod')
    relative = expand(mount.sub_path_expr, env) if mount.sub_path_expr else mount.sub_path
    if relative:
        _check_below(place, relative)
    kind = "ro-bind" if mount.read_only or place.read_only else "bind"
    return Mount(kind, mount.mount_path, str(place.path), beneath=relative, make=bool(relative) and not place.read_only)


def _check_below(place: Place, relative: str) -> None:
    """Raises ConfigError when a place below a volume leads out of it, or cannot be.

    That it still does not when the container starts, whoever changes the volume meanwhile, is the sandbox's to see to.
    """
    if ".." in PurePosixPath(relative).parts or relative.startswith("/"):
        raise ConfigError(f'subPath "{relative}" must be relative and stay inside the volume')
    path = Path(os.path.realpath(place.path / relative))
    if not path.is_relative_to(place.path.resolve()):
        raise ConfigError(f'subPath "{relative}" leads out of the volume')
    if place.read_only and not path.exists():
        raise ConfigError(f'subPath "{relative}" does not exist in the volume')
