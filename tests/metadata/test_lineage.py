"""Lineage both ways: what is found, how far, and how much of it."""

from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ketch.metadata.database import Database
from ketch.metadata.lineage import Context, Direction, Execution, Lineage, Start
from ketch.metadata.tables import INPUT, OUTPUT, Artifact, ArtifactTask

NOW = datetime(2026, 1, 31, tzinfo=UTC)
READS = (("raw", "prepare"), ("clean", "train-a"), ("clean", "train-b"), ("model-a", "choose"), ("model-b", "choose"))
MAKES = (("prepare", "clean"), ("train-a", "model-a"), ("train-b", "model-b"), ("choose", "best"))


class Tasks:
    """A domain whose executions are all in one context."""

    async def executions(self, ids: Collection[str]) -> Mapping[str, Execution]:
        return {each: Execution(each, "run", "task", each.title(), "SUCCEEDED", NOW) for each in ids if "-" not in each}

    async def contexts(self, ids: Collection[str]) -> Mapping[str, Context]:
        return {each: Context(each, "run", "A run", "SUCCEEDED", NOW) for each in ids if each == "run"}


def events(reads: Iterable[tuple[str, str]], makes: Iterable[tuple[str, str]], run: str = "run") -> list[ArtifactTask]:
    read = [ArtifactTask(task_id=task, role=INPUT, key=name, artifact_id=name, run_id=run) for name, task in reads]
    made = [ArtifactTask(task_id=task, role=OUTPUT, key=name, artifact_id=name, run_id=run) for task, name in makes]
    return [*read, *made]


async def fill(database: Database, rows: Iterable[ArtifactTask]) -> None:
    async with database.transaction() as session:
        rows = list(rows)
        session.add_all(rows)
        for name in {row.artifact_id for row in rows}:
            session.add(
                Artifact(id=name, namespace="", type="system.Model", name=name, uri="", properties={}, created_at=NOW)
            )


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database(f"sqlite:///{tmp_path / 'platform.db'}")
    await database.open()
    yield database
    await database.close()


@pytest.fixture
async def lineage(database: Database) -> Lineage:
    await fill(database, events(READS, MAKES))
    return Lineage(database, (Tasks(),))


@pytest.mark.parametrize(
    ("start", "direction", "depth", "artifacts", "executions"),
    [
        pytest.param(
            Start(["best"]), Direction.UPSTREAM, None, "best clean model-a model-b raw",
            "choose prepare train-a train-b", id="all that a model came from",
        ),
        pytest.param(Start(["best"]), Direction.UPSTREAM, 1, "best model-a model-b", "choose", id="one step back"),
        pytest.param(Start(["raw"]), Direction.DOWNSTREAM, 2, "clean model-a model-b raw", "prepare train-a train-b",
                     id="two steps on"),
        pytest.param(Start(["raw"]), Direction.UPSTREAM, None, "raw", "", id="nothing before"),
        pytest.param(Start(["clean"]), Direction.BOTH, 1, "clean model-a model-b raw", "prepare train-a train-b",
                     id="both ways"),
        pytest.param(Start((), ["train-a"]), Direction.UPSTREAM, 0, "clean", "train-a", id="what a task read"),
        pytest.param(Start((), ["train-a"]), Direction.DOWNSTREAM, None, "best model-a", "choose train-a",
                     id="what came of a task"),
        pytest.param(Start((), (), ["run"]), Direction.BOTH, 0, "best clean model-a model-b raw",
                     "choose prepare train-a train-b", id="a whole run"),
        pytest.param(Start(["none"]), Direction.BOTH, None, "", "", id="what is not there"),
    ],
)  # fmt: skip
async def test_what_is_found(
    lineage: Lineage, start: Start, direction: Direction, depth: int | None, artifacts: str, executions: str
):
    graph = await lineage.search(start, direction, depth)
    assert sorted(graph.artifacts) == artifacts.split()
    assert sorted({event.task_id for event in graph.events} | set(start.execution_ids)) == executions.split()
    assert graph.complete


async def test_domains_tell_of_what_is_theirs(lineage: Lineage):
    graph = await lineage.search(Start(["best"]))
    assert {each.name for each in graph.executions.values()} == {"Choose", "Prepare"}  # the others are of nobody's
    assert [each.name for each in graph.contexts.values()] == ["A run"]


async def test_a_search_has_an_end_and_says_so(lineage: Lineage):
    graph = await lineage.search(Start(["best"]), limit=3)
    assert (len(graph.events), graph.complete) == (3, False)
    assert (await lineage.search(Start(["best"]), limit=9)).complete


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    edges=st.sets(st.tuples(st.integers(0, 9), st.integers(0, 9), st.booleans()), max_size=40), begin=st.integers(0, 9)
)
async def test_any_graph_is_searched_as_a_person_would(
    tmp_path_factory: pytest.TempPathFactory, edges: set[tuple[int, int, bool]], begin: int
):
    """Also those with cycles, which honest runs do not make."""
    reads = {(f"a{artifact}", f"t{task}") for artifact, task, made in edges if not made}
    makes = {(f"t{task}", f"a{artifact}") for artifact, task, made in edges if made}
    database = Database(f"sqlite:///{tmp_path_factory.mktemp('graph') / 'platform.db'}")
    await database.open()
    try:
        await fill(database, events(reads, makes))
        graph = await Lineage(database, ()).search(Start([f"a{begin}"]), Direction.DOWNSTREAM)
    finally:
        await database.close()
    reached, before = {f"a{begin}"}, 0
    while len(reached) != before:
        before = len(reached)
        reached |= {there for here, there in reads | makes if here in reached}
    assert {event.artifact_id for event in graph.events} | {f"a{begin}"} == {each for each in reached if each[0] == "a"}
