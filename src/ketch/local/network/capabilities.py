"""What this machine allows: for the daemon's own words when it falls back, and for ``ketch doctor``."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from ketch.local.network.namespaces import CAP_SYS_ADMIN, Step, effective_capabilities, needs_user_namespace

_SYSCTL = Path("/proc/sys")
_PROBE = "ketch.local.network.probe"
_PROBE_SECONDS = 20.0
_IN_CONTAINER = "where Ketch runs in a container, its engine has to allow it (with Docker: --privileged)"


@dataclass(frozen=True)
class Finding:
    """One thing that the machine can or cannot do, what was seen, and what would help."""

    name: str
    ok: bool
    detail: str
    advice: str = ""


def _sysctl(name: str) -> str | None:
    try:
        return (_SYSCTL / name.replace(".", "/")).read_text().strip()
    except OSError:
        return None


def _raise_limit(name: str, value: str) -> str:
    return f"set it with 'sudo sysctl -w {name}={value}' (sysctl {name} is {_sysctl(name)})"


def namespace_advice(*kinds: str) -> str:
    """What would let namespaces of these kinds ("user", "net", "mnt") be made."""
    for limit in (f"user.max_{kind}_namespaces" for kind in kinds):
        if _sysctl(limit) == "0":
            return _raise_limit(limit, "10000")
    if _sysctl("kernel.unprivileged_userns_clone") == "0":
        return _raise_limit("kernel.unprivileged_userns_clone", "1")
    if _sysctl("kernel.apparmor_restrict_unprivileged_userns") == "1":
        return _raise_limit("kernel.apparmor_restrict_unprivileged_userns", "0")
    return _IN_CONTAINER


def advice(step: Step) -> str:
    """What would let ``step`` succeed on this machine."""
    match step:
        case Step.USER_NAMESPACE:
            return namespace_advice("user")
        case Step.NETWORK_NAMESPACE:
            return namespace_advice("net")
        case Step.ROUTING:
            return f"/proc/sys/net has to be writable in new namespaces; {_IN_CONTAINER}"
        case Step.INTERFACES:
            return "load the kernel's module with 'sudo modprobe veth'"
        case Step.TRANSLATION:
            return "load the kernel's modules with 'sudo modprobe -a nf_tables nft_chain_nat nft_numgen nf_nat'"


def consequence(step: Step) -> str:
    """What the platform does without when ``step`` fails."""
    if step is Step.TRANSLATION:
        return "Services are relayed by a process instead"
    if step is Step.USER_NAMESPACE and not effective_capabilities() >> CAP_SYS_ADMIN & 1:
        return "no pod can run: sandboxes need user namespaces"
    return "pods share the host's network: no two can listen on one port, and Services have no addresses"


def check() -> list[Finding]:
    """Try every step in a process of its own, which leaves nothing behind."""
    steps = [step for step in Step if step is not Step.USER_NAMESPACE or needs_user_namespace()]
    done = subprocess.run(
        [sys.executable, "-m", _PROBE], capture_output=True, text=True, timeout=_PROBE_SECONDS, check=False
    )
    try:
        failed: dict[str, str] = json.loads(done.stdout)
    except ValueError:
        return [Finding("pods' network", ok=False, detail=f"the trial broke off: {done.stderr.strip()}")]
    findings: list[Finding] = []
    for step in steps:
        if step not in failed:
            findings.append(Finding(step, ok=True, detail="works"))
            continue
        detail = f"{failed[step]}: {consequence(step)}"
        findings.append(Finding(step, ok=False, detail=detail, advice=advice(step)))
        if step is not Step.TRANSLATION:
            break  # what comes after it was not tried
    return findings
