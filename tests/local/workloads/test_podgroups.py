"""PodGroups: their phase by table; and one from its first pod to its end, with the scheduler."""

import msgspec
import pytest
from tests.playing import NAMESPACE, a_pod, a_world

from ketch.kube.codec import decode
from ketch.kube.meta import ObjectKey
from ketch.kube.types.podgroups import POD_GROUP_LABEL, PodGroup
from ketch.kube.types.pods import Pod, PodStatus
from ketch.local import scheduler
from ketch.local.workloads import podgroups
from ketch.local.workloads.podgroups import phase_of

WORDS = {
    "w": ("Pending", ""),
    "p": ("Pending", "n"),
    "r": ("Running", "n"),
    "s": ("Succeeded", "n"),
    "f": ("Failed", "n"),
}


def a_group(least: int = 3, phase: str = "") -> PodGroup:
    meta = {"name": "g", "namespace": NAMESPACE}
    return decode(PodGroup, {"metadata": meta, "spec": {"minMember": least}, "status": {"phase": phase}})


def pods_of(word: str) -> list[Pod]:
    """Waiting, placed, running, succeeded, failed: by letter."""
    found = []
    for number, letter in enumerate(word):
        phase, node = WORDS[letter]
        pod = a_pod(f"g-{number}", node_name=node)
        found.append(msgspec.structs.replace(pod, status=PodStatus(phase=phase)))
    return found


@pytest.mark.parametrize(
    ("pods", "before", "phase"),
    [
        pytest.param("", "", "Pending", id="no pods"),
        pytest.param("ww", "Pending", "Pending", id="too few pods"),
        pytest.param("www", "Pending", "PreScheduling", id="enough pods, none placed"),
        pytest.param("ppp", "PreScheduling", "Scheduled", id="all placed"),
        pytest.param("rrw", "Running", "Scheduling", id="one lost"),
        pytest.param("rrp", "Scheduled", "Scheduled", id="not all run"),
        pytest.param("rrrw", "Scheduled", "Running", id="enough run"),
        pytest.param("ssr", "Running", "Running", id="some are done"),
        pytest.param("sssr", "Running", "Finished", id="enough are done"),
        pytest.param("rrf", "Running", "Failed", id="one failed"),
        pytest.param("rwf", "Running", "Scheduling", id="one failed before enough began"),
        pytest.param("", "Finished", "Finished", id="cleaned up"),
        pytest.param("r", "Failed", "Failed", id="cleaned up after a failure"),
        pytest.param("www", "Failed", "PreScheduling", id="begun again"),
    ],
)
def test_phases(pods, before, phase):
    assert phase_of(a_group(phase=before), pods_of(pods)) == phase


async def test_from_its_first_pod_to_its_end(tmp_path):
    async with a_world(tmp_path, scheduler.setup, podgroups.setup) as world:
        await world.client.create(a_group(2))

        async def comes_to(phase: str) -> PodGroup:
            async def has_come() -> bool:
                return (await world.get(PodGroup, "g")).status.phase == phase

            await world.until(has_come)
            return await world.get(PodGroup, "g")

        await comes_to("Pending")
        for name in ("g-0", "g-1"):
            await world.client.create(a_pod(name, labels={POD_GROUP_LABEL: "g"}, requests={"cpu": "1"}))
        group = await comes_to("PreScheduling")
        assert group.status.schedule_start_time == world.now()
        await world.node(allocatable={"cpu": "2"})
        group = await comes_to("Scheduled")
        assert group.status.scheduled == 2
        await world.play_all()
        assert (await comes_to("Running")).status.running == 2
        assert await world.settles("podgroups", ObjectKey(NAMESPACE, "g"), ObjectKey(NAMESPACE, "never"))
        await world.play_all("Succeeded")
        assert (await comes_to("Finished")).status.succeeded == 2
        for name in ("g-0", "g-1"):
            await world.delete(Pod, name)
        await world.settle()
        assert (await world.get(PodGroup, "g")).status.phase == "Finished"
        assert "2 pods have a node" in await world.events("Scheduled")
