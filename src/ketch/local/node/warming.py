"""Warm interpreters for this node's containers: which container may come from one, and that there are some.

The first container of an environment starts as any other, and a template is made meanwhile; those after it come from
the template as long as it is there. Whatever is not as in a cold start, starts cold.
"""

import asyncio
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from ketch.kube.types.containers import Container
from ketch.kube.types.pods import Pod
from ketch.local.images.environments import MOUNT
from ketch.local.images.images import Image, Images
from ketch.local.images.preloading import Plan, Preload, alike, plan, preload_of
from ketch.local.images.rootfs import PROGRAMS
from ketch.local.node.processes import Process, python_process, wants_warm
from ketch.local.sandbox import readying, template
from ketch.local.sandbox.client import SandboxClient
from ketch.local.sandbox.errors import AlreadyStarted, SandboxError, StartError
from ketch.local.sandbox.main import TEMPLATES
from ketch.local.sandbox.spec import ContainerSpec, Mount, TemplateSpec, WarmStart

log = logging.getLogger(__name__)

PROGRAM = "/opt/ketch/warm/template.py"
BESIDE = "/opt/ketch/warm/readying.py"
MOST = 8
"""Templates at once; the one that was not asked for longest makes room."""

LONGEST_WORD = 1 << 17
"""Bytes of one word of a command line; longer ones the kernel refuses, in a cold start."""

SHARED = ("ro-bind", "symlink", "directory", "tmpfs")
"""Mounts into which no container writes what stays, or which are a container's own as they are made."""

LANGUAGE = "C.UTF-8"
APPLIED = frozenset({"PYTHON_VERSION", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE"})
"""Variables of Python's that a warm interpreter obeys as a cold one."""

START_UP = ("PYTHON", "LD_", "LC_", "MALLOC_", "GLIBC_")
"""How variables begin that are read when a process starts."""

LOADING = (
    *("BLIS_", "GOTO_", "JOBLIB_", "KMP_", "LOKY_", "MKL_", "NARWHALS_", "NPY_", "NUMEXPR_", "OMP_", "OPENBLAS_"),
    *("PANDAS_", "SCIPY_", "SKLEARN_"),
)
"""How variables begin that libraries read when they are loaded."""


@dataclass(frozen=True)
class _Ready:
    plan: Plan
    socket: Path
    furniture: frozenset[Mount]


class Warming:
    """The node's templates. ``enabled`` off: every container starts cold."""

    def __init__(self, sandbox: SandboxClient, images: Images, data_dir: Path, *, enabled: bool = True) -> None:
        self._sandbox = sandbox
        self._images = images
        self._folder = data_dir / TEMPLATES
        self._enabled = enabled
        self._ready: dict[tuple[str, str, bool], _Ready | None] = {}
        self._preparing: dict[tuple[str, str, bool], asyncio.Task[None]] = {}
        self._used: dict[Path, None] = {}

    def warmed(self, pod: Pod, container: Container, spec: ContainerSpec, image: Image) -> ContainerSpec:
        """The container, from a template if it may be and one is there. Raises ConfigError."""
        annotations = pod.metadata.annotations
        process = python_process(annotations, container.name, spec.argv)
        if not (wants_warm(annotations) and self._enabled) or process is None or image.environment is None:
            return spec
        if spec.stdin or spec.tty or spec.processes_of or spec.read_only or spec.sysctls:
            return spec
        preload = preload_of(process.module, {**spec.env, **process.env})
        if preload is None or not fits(process, spec, image):
            return spec
        extras = not any(name.startswith(LOADING) for name in spec.env)
        found = self._template(image, preload, extras=extras)
        if found is None or not stands(found.furniture, spec.mounts):
            return spec
        return replace(spec, warm=warm_start(process, found.socket, found.furniture))

    def missed(self, warm: WarmStart) -> None:
        """A container did not come from its template: the next one asks anew whether there is one."""
        for key, ready in tuple(self._ready.items()):
            if ready is not None and ready.socket == warm.template:
                del self._ready[key]

    async def close(self) -> None:
        """Give up what is being prepared; templates go on."""
        tasks = tuple(self._preparing.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _template(self, image: Image, preload: Preload, *, extras: bool) -> _Ready | None:
        assert image.environment is not None
        key = (image.environment.name, preload.module, extras)
        ready = self._ready.get(key)
        if ready is not None and not ready.socket.exists():
            del self._ready[key]  # it ended: nobody had asked for long
            ready = None
        if key not in self._ready and key not in self._preparing:
            task = self._preparing[key] = asyncio.create_task(self._prepare(key, image, preload))
            task.add_done_callback(lambda _: self._preparing.pop(key, None))
        if ready is not None:
            self._used[ready.socket] = self._used.pop(ready.socket, None)
        return ready

    async def _prepare(self, key: tuple[str, str, bool], image: Image, preload: Preload) -> None:
        try:
            found = await plan(image, preload, self._images.environments, extras=key[2])
            self._ready[key] = None if found is None else await self._begin(image, found)
        except StartError as error:
            log.warning("containers of %s start cold: %s", image.name, error)
            self._ready[key] = None
        except (SandboxError, OSError) as error:
            log.info("no template for %s yet: %s", image.name, error)

    async def _begin(self, image: Image, chosen: Plan) -> _Ready | None:
        assert image.environment is not None
        place = self._folder / chosen.key
        self._used[place] = None
        self._make_room()
        program = Mount("ro-bind", PROGRAM, str(Path(template.__file__)))
        beside = Mount("ro-bind", BESIDE, str(Path(readying.__file__)))
        ahead = furniture(image.mounts)
        wanted = TemplateSpec(
            socket=place,
            log=self._folder / f"{chosen.key}.log",
            argv=(f"{MOUNT}/bin/python3", PROGRAM),
            env={**image.env, **chosen.preload.env},
            mounts=(*chosen.mounts, program, beside),
            imports=chosen.preload.imports,
            extras=chosen.extras,
            furniture=ahead,
            rehearsal=chosen.preload.rehearsal,
        )
        try:
            await self._sandbox.start_template(wanted)
        except AlreadyStarted:
            if not place.exists():
                raise  # about to be
        files = json.loads(await asyncio.to_thread(place.with_suffix(template.REPORT_SUFFIX).read_text))["files"]
        if not await asyncio.to_thread(alike, chosen.environment, image.environment, files.values()):
            log.info("containers of %s start cold: its modules are not those of %s", image.name, chosen.environment)
            return None
        return _Ready(chosen, place, frozenset(ahead))

    def _make_room(self) -> None:
        while len(self._used) > MOST:
            oldest = next(iter(self._used))
            del self._used[oldest]
            self._sandbox.end_template(oldest)


def fits(process: Process, spec: ContainerSpec, image: Image) -> bool:
    """Whether the process would be the same, begun cold, as in an interpreter that did not know it."""
    env = {**spec.env, **process.env}
    first = env.get("PATH", "").partition(":")[0]
    odd = spec.user or spec.group or first != f"{MOUNT}/bin" or env.get("LANG") != LANGUAGE
    odd = odd or ("TMPDIR" in env and process.text is not None)
    odd = odd or any(name.startswith(START_UP) and name not in APPLIED for name in env)
    if odd or any(len(word.encode("utf-8", "surrogateescape")) >= LONGEST_WORD for word in spec.argv):
        return False
    ours = frozenset(image.mounts)
    targets = [mount.target.rstrip("/") for mount in spec.mounts if mount not in ours]
    if not targets:
        return True
    places = (MOUNT, "/opt/ketch", *PROGRAMS, *(mount.target for mount in image.mounts if mount.kind == "ro-bind"))
    return not any(target in places or target.startswith(tuple(f"{place}/" for place in places)) for target in targets)


def furniture(mounts: Sequence[Mount]) -> tuple[Mount, ...]:
    """Those of an image's mounts that all its containers can have before they are known: nothing of a container's own
    stands in them, and they stand in nothing of its own.
    """
    own = [PurePosixPath(mount.target) for mount in mounts if mount.kind not in SHARED]
    return tuple(
        mount
        for mount in mounts
        if mount.kind in SHARED and not any(PurePosixPath(mount.target).is_relative_to(each) for each in own)
    )


def stands(furniture: frozenset[Mount], mounts: Sequence[Mount]) -> bool:
    """Whether a container with these mounts comes to the same when its furniture was there first."""
    if not furniture.issubset(mounts):
        return False
    others = (each.target.rstrip("/") for each in mounts if each.kind != "directory" and each not in furniture)
    covers = tuple(f"{target}/" for target in others)
    return not any(mount.target.startswith(covers) for mount in furniture)


def warm_start(process: Process, place: Path, furniture: frozenset[Mount] = frozenset()) -> WarmStart:
    """The process as the sandbox wants it."""
    return WarmStart(
        template=place,
        program=process.program,
        module=process.module,
        arguments=process.arguments,
        env=process.env,
        text=process.text,
        text_name=process.text_name,
        text_at=process.text_at,
        below_shell=process.below_shell,
        furniture=furniture,
    )
