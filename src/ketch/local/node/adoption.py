"""What an earlier agent left on disk: runs of containers, found again by their records."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ketch.kube.types.core import Pod
from ketch.local.node.lastwords import termination_message
from ketch.local.node.pods.containers import AdoptedRun, Termination
from ketch.local.node.starting import IMAGE, IMAGE_ID, container_directory, log_path, termination_path
from ketch.local.node.volumes.places import Folders
from ketch.local.sandbox.container import Container
from ketch.local.sandbox.errors import NotStarted


@dataclass(frozen=True)
class Adopted:
    """The runs of a pod's containers by container, and those of them that still go on."""

    runs: Mapping[str, Sequence[AdoptedRun]] = field(default_factory=dict[str, Sequence[AdoptedRun]])
    running: Sequence[tuple[str, int, Container]] = ()


def _attempts(folder: Path) -> list[int]:
    if not folder.is_dir():
        return []
    return sorted(int(path.name) for path in folder.iterdir() if path.name.isdigit())


async def adopt(folders: Folders, pod: Pod) -> Adopted:
    """Look for the pod's containers."""
    uid = pod.metadata.uid
    runs: dict[str, list[AdoptedRun]] = {}
    running: list[tuple[str, int, Container]] = []
    for spec in pod.spec.every_container():
        root = container_directory(folders, uid, spec.name, 0).parent
        for attempt in _attempts(root):
            try:
                container = Container.adopt(root / str(attempt))
            except NotStarted:
                continue  # the agent ended before it began; the machine orders it again
            ended = None
            if container.running:
                running.append((spec.name, attempt, container))
            else:
                end = await container.wait()
                written = termination_path(folders, uid, spec.name, attempt)
                output = log_path(folders, uid, spec.name, attempt)
                message = end.message or termination_message(spec, end.code, written, output)
                ended = Termination(end.code, end.reason, end.finished_at, end.started_at, message=message)
            extra = container.extra
            run = AdoptedRun(attempt, extra[IMAGE], extra[IMAGE_ID], container.started.started_at, ended)
            runs.setdefault(spec.name, []).append(run)
    return Adopted(runs, running)


def containers_below(folder: Path) -> Iterator[Container]:
    """Every started container whose records stand in a pod's folder."""
    for record in folder.glob("containers/*/*/started.json"):
        try:
            yield Container.adopt(record.parent)
        except NotStarted:
            continue
