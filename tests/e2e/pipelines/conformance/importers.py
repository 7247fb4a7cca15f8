"""Importers: constant and computed URIs, metadata, reuse, data behind the URI, and where importers may stand."""

from kfp import dsl
from kfp.dsl import Dataset, Model
from tests.e2e.pipelines.conformance.cases import SKIPPED, SUCCEEDED, Expect, Family
from tests.e2e.pipelines.conformance.driving import Driver
from tests.e2e.pipelines.conformance.seen import Seen
from tests.e2e.pipelines.conformance.steps import light, read, say, write

family = Family("importers")

URI = "s3://elsewhere/conformance/data.csv"


def _imported(uri: str, path: str = "importer.artifact") -> Expect:
    def check(seen: Seen) -> None:
        (artifact,) = seen.artifacts(path)
        assert artifact["uri"] == uri, seen.story()

    return Expect(states={path.rpartition(".")[0]: SUCCEEDED}, check=check)


@family.case(_imported(URI))
@dsl.pipeline(name="a-constant-uri")
def a_constant_uri():
    dsl.importer(artifact_uri=URI, artifact_class=Dataset, reimport=False)


@family.case(_imported("s3://elsewhere/conformance/other"), uri="s3://elsewhere/conformance/other")
@dsl.pipeline(name="a-uri-from-a-parameter")
def from_a_parameter(uri: str):
    dsl.importer(artifact_uri=uri, artifact_class=Dataset, reimport=True)


@family.case(_imported("s3://elsewhere/conformance/made"))
@dsl.pipeline(name="a-uri-from-a-task")
def from_a_task():
    made = say(text="s3://elsewhere/conformance/made")
    dsl.importer(artifact_uri=made.output, artifact_class=Model)


@light
def uri_of(data: dsl.Input[Dataset]) -> str:
    return f"{data.uri} {data.metadata.get('kind')} {data.metadata.get('from')}"


@family.case(
    Expect(
        artifacts={"importer.artifact": ("Dataset", {"kind": "csv", "from": "me", "size": 3})},
        outputs={"uri-of.Output": f"{URI} csv me"},
    ),
    who="me",
)
@dsl.pipeline(name="metadata-from-constants-and-parameters")
def with_metadata(who: str):
    made = dsl.importer(
        artifact_uri=URI, artifact_class=Dataset, reimport=True, metadata={"kind": "csv", "from": who, "size": 3}
    )
    uri_of(data=made.output)


@dsl.pipeline(name="imported-again")
def again(reimport_uri: str):
    dsl.importer(artifact_uri=reimport_uri, artifact_class=Dataset, reimport=False)
    dsl.importer(artifact_uri=reimport_uri, artifact_class=Dataset, reimport=True)


@family.scenario
def an_artifact_is_known_again_unless_it_is_to_be_imported_anew(driver: Driver) -> None:
    uri = "s3://elsewhere/conformance/again"
    first, second = driver.run(again, reimport_uri=uri), driver.run(again, reimport_uri=uri)
    found = [
        seen.artifacts(f"{name}.artifact")[0]["artifact_id"]
        for seen in (first, second)
        for name in ("importer", "importer-2")
    ]
    assert found[2] in found[:2], found
    assert found[3] not in found[:3], found


@dsl.pipeline(name="imports-what-another-run-made")
def imports(uri: str):
    read(data=dsl.importer(artifact_uri=uri, artifact_class=Dataset, reimport=False).output)


@dsl.pipeline(name="made-for-another-run")
def makes():
    write(text="from another run")


@family.scenario
def data_that_another_run_made_is_read(driver: Driver) -> None:
    made = driver.run(makes)
    seen = driver.run(imports, uri=made.artifacts("write.data")[0]["uri"])
    assert seen.run.state == SUCCEEDED, seen.story()
    assert seen.output("read.Output") == "from another run"


def _in_loops(seen: Seen) -> None:
    uris = [seen.artifacts(f"for-loop-2/{each}/importer.artifact")[0]["uri"] for each in range(2)]
    assert uris == ["s3://elsewhere/a", "s3://elsewhere/b"], seen.story()


@family.case(Expect(states={"condition-3": SKIPPED}, absent=("condition-3/importer-2",), check=_in_loops))
@dsl.pipeline(name="importers-within-loops-and-conditions")
def within_loops(flag: bool = False):
    with dsl.ParallelFor(["s3://elsewhere/a", "s3://elsewhere/b"]) as uri:
        dsl.importer(artifact_uri=uri, artifact_class=Dataset, reimport=True)
    with dsl.If(flag == True):  # noqa: E712  # a channel compares like this
        dsl.importer(artifact_uri=URI, artifact_class=Dataset)


@dsl.pipeline(name="into-the-workspace", pipeline_config=dsl.PipelineConfig(workspace=dsl.WorkspaceConfig(size="5Mi")))
def into_the_workspace(uri: str):
    read(data=dsl.importer(artifact_uri=uri, artifact_class=Dataset, download_to_workspace=True).output)


@family.scenario
def data_is_imported_into_the_workspace(driver: Driver) -> None:
    made = driver.run(makes, caching=False)
    seen = driver.run(into_the_workspace, uri=made.artifacts("write.data")[0]["uri"])
    assert seen.run.state == SUCCEEDED, seen.story()
    assert seen.output("read.Output") == "from another run"
