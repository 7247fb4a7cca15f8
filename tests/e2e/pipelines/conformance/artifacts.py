"""Artifacts: every type, metadata, directories, paths of the user's own, and what is returned instead of written."""

from kfp import dsl
from kfp.dsl import (
    HTML,
    Artifact,
    ClassificationMetrics,
    Dataset,
    Input,
    Markdown,
    Metrics,
    Model,
    Output,
    SlicedClassificationMetrics,
)
from tests.e2e.pipelines.conformance.cases import Expect, Family
from tests.e2e.pipelines.conformance.driving import Driver
from tests.e2e.pipelines.conformance.seen import Seen
from tests.e2e.pipelines.conformance.steps import light, read, read_any, say, train, write

family = Family("artifacts")


@family.case(
    Expect(
        outputs={"read.Output": "hello"},
        artifacts={"write.data": ("Dataset", {"length": 5})},
    )
)
@dsl.pipeline(name="a-dataset")
def a_dataset():
    read(data=write(text="hello").outputs["data"])


@family.case(
    Expect(
        outputs={"read-any.Output": "HELLO", "read-any-2.Output": "hello"},
        artifacts={"train.model": ("Model", {"rate": 0.25, "framework": "none"})},
    )
)
@dsl.pipeline(name="a-model-from-a-dataset")
def a_model():
    data = write(text="hello").outputs["data"]
    read_any(data=train(data=data, rate=0.25).outputs["model"])
    read_any(data=data)


@light
def measure(scores: Output[Metrics]):
    scores.log_metric("accuracy", 0.75)
    scores.log_metric("count", 3)


@light
def metric(scores: Input[Metrics]) -> dict:
    return dict(scores.metadata)


@family.case(
    Expect(
        artifacts={"measure.scores": ("Metric", {"accuracy": 0.75, "count": 3})},
        outputs={"metric.Output": {"accuracy": 0.75, "count": 3}},
    )
)
@dsl.pipeline(name="metrics")
def metrics():
    metric(scores=measure().outputs["scores"])


@light
def classify(found: Output[ClassificationMetrics]):
    found.log_confusion_matrix(["a", "b"], [[1, 2], [3, 4]])
    found.log_roc_curve([0.0, 0.5, 1.0], [0.0, 0.7, 1.0], [0.9, 0.5, 0.1])


def _classified(seen: Seen) -> None:
    (artifact,) = seen.artifacts("classify.found")
    assert artifact["type"] == "ClassificationMetric"
    matrix, curve = artifact["metadata"]["confusionMatrix"], artifact["metadata"]["confidenceMetrics"]
    assert [row["row"] for row in matrix["rows"]] == [[1, 2], [3, 4]]
    assert [each["displayName"] for each in matrix["annotationSpecs"]] == ["a", "b"]
    assert curve[1] == {"confidenceThreshold": 0.5, "recall": 0.7, "falsePositiveRate": 0.5}


@family.case(Expect(check=_classified))
@dsl.pipeline(name="classification-metrics")
def classification_metrics():
    classify()


@light
def slice_up(found: Output[SlicedClassificationMetrics]):
    # the SDK's own methods need a constructor that its executor does not call
    found.metadata["evaluationSlices"] = [{"slice": "s", "sliceClassificationMetrics": {"confidenceMetrics": []}}]


def _sliced(seen: Seen) -> None:
    (artifact,) = seen.artifacts("slice-up.found")
    assert artifact["type"] == "SlicedClassificationMetric"
    (evaluation,) = artifact["metadata"]["evaluationSlices"]
    assert evaluation["slice"] == "s"


@family.case(Expect(check=_sliced))
@dsl.pipeline(name="sliced-classification-metrics")
def sliced_classification_metrics():
    slice_up()


@light
def report(page: Output[HTML], notes: Output[Markdown], rest: Output[Artifact]):
    for artifact, text in ((page, "<h1>x</h1>"), (notes, "# x"), (rest, "x")):
        with open(artifact.path, "w") as file:
            file.write(text)


@light
def see(page: Input[HTML], notes: Input[Markdown], rest: Input[Artifact]) -> str:
    return " ".join(open(each.path).read() for each in (page, notes, rest))


@family.case(
    Expect(
        outputs={"see.Output": "<h1>x</h1> # x x"},
        artifacts={"report.page": ("HTML", {}), "report.notes": ("Markdown", {}), "report.rest": ("Artifact", {})},
    )
)
@dsl.pipeline(name="html-markdown-and-generic")
def html_and_markdown():
    made = report()
    see(page=made.outputs["page"], notes=made.outputs["notes"], rest=made.outputs["rest"])


@light
def make_tree(tree: Output[Dataset]):
    import os

    for name in ("a", "b/c", "b/d/e"):
        path = os.path.join(tree.path, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as file:
            file.write(name)
    os.makedirs(os.path.join(tree.path, "empty"))


@light
def walk(tree: Input[Dataset]) -> dict:
    import os

    found = {}
    for folder, _, files in os.walk(tree.path):
        for name in files:
            path = os.path.join(folder, name)
            found[os.path.relpath(path, tree.path)] = open(path).read()
    return found


@family.case(Expect(outputs={"walk.Output": {"a": "a", "b/c": "b/c", "b/d/e": "b/d/e"}}))
@dsl.pipeline(name="a-directory")
def a_directory():
    walk(tree=make_tree().outputs["tree"])


@light
def rich(model: Output[Model]):
    model.metadata.update(
        text="ü\n", number=3, x=0.5, flag=True, items=[1, "b", None], table={"a": {"b": []}}, none=None
    )
    model.metadata["display_name"] = "The Model"
    open(model.path, "w").close()


@light
def metadata_of(model: Input[Model]) -> dict:
    return {key: value for key, value in model.metadata.items() if key != "store_session_info"}


RICH = {"text": "ü\n", "number": 3, "x": 0.5, "flag": True, "items": [1, "b", None], "table": {"a": {"b": []}}}


def _rich(seen: Seen) -> None:
    found = seen.tasks["metadata-of"].parameters()["Output"]
    assert {key: found[key] for key in RICH} == RICH, seen.story()
    assert found["display_name"] == "The Model"


@family.case(Expect(check=_rich))
@dsl.pipeline(name="metadata-of-all-kinds")
def metadata_of_all_kinds():
    metadata_of(model=rich().outputs["model"])


@light
def path_in(text: str, data: dsl.OutputPath("Dataset")):
    with open(data, "w") as file:
        file.write(text)


@light
def path_out(data: dsl.InputPath("Dataset")) -> str:
    return open(data).read()


@family.case(Expect(outputs={"path-out.Output": "x", "read.Output": "x"}))
@dsl.pipeline(name="paths-of-artifacts")
def paths_of_artifacts():
    made = path_in(text="x")
    path_out(data=made.outputs["data"])
    read(data=made.outputs["data"])


@light
def returned(text: str) -> Dataset:
    made = Dataset(uri=dsl.get_uri("own"), metadata={"note": text})
    with open(made.path, "w") as file:
        file.write(text)
    return made


@light
def taken(data: Dataset) -> str:
    return f"{open(data.path).read()} {data.metadata['note']}"


def _own_uri(seen: Seen) -> None:
    (artifact,) = seen.artifacts("returned.Output")
    assert artifact["uri"].endswith("/own"), seen.story()


@family.case(Expect(outputs={"taken.Output": "x x"}, check=_own_uri))
@dsl.pipeline(name="artifacts-as-values")
def artifacts_as_values():
    taken(data=returned(text="x").output)


@light
def moved(data: Output[Dataset]):
    data.uri = "s3://elsewhere/data"
    data.metadata["moved"] = True


def _moved(seen: Seen) -> None:
    (artifact,) = seen.artifacts("moved.data")
    assert artifact["uri"] == "s3://elsewhere/data"
    assert artifact["metadata"] == {"moved": True}


@family.case(Expect(check=_moved))
@dsl.pipeline(name="another-uri")
def another_uri():
    moved()


@light
def unwritten(data: Output[Dataset]):
    data.metadata["written"] = False


@light
def look(data: Input[Dataset]) -> bool:
    import os

    return os.path.exists(data.path)


@family.case(Expect(outputs={"look.Output": False}, artifacts={"unwritten.data": ("Dataset", {"written": False})}))
@dsl.pipeline(name="an-artifact-without-data")
def without_data():
    look(data=unwritten().outputs["data"])


@light
def two(first: Output[Dataset], second: Output[Model]) -> str:
    for artifact in (first, second):
        with open(artifact.path, "w") as file:
            file.write(artifact.name)
    return "both"


def _names(seen: Seen) -> None:
    assert [seen.artifacts(f"two.{key}")[0]["name"] for key in ("first", "second")] == ["first", "second"]
    uris = [seen.artifacts(f"two.{key}")[0]["uri"] for key in ("first", "second")]
    assert all("/two/" in uri and seen.run.run_id in uri for uri in uris), uris
    assert uris[0].rpartition("/")[0] == uris[1].rpartition("/")[0]


@family.case(
    Expect(outputs={"two.Output": "both", "read-any.Output": "first", "read-any-2.Output": "second"}, check=_names)
)
@dsl.pipeline(name="names-and-uris")
def names_and_uris():
    made = two()
    read_any(data=made.outputs["first"])
    read_any(data=made.outputs["second"])


@light
def optional_artifact(data: Input[Dataset] = None) -> str:
    return "none" if data is None else open(data.path).read()


@family.case(Expect(outputs={"optional-artifact.Output": "none", "optional-artifact-2.Output": "x"}))
@dsl.pipeline(name="an-optional-artifact")
def an_optional_artifact():
    optional_artifact()
    optional_artifact(data=write(text="x").outputs["data"])


@family.case(
    Expect(outputs={"read.Output": "x"}, artifacts={"root.Output": ("Dataset", {"length": 1})}),
)
@dsl.pipeline(name="an-artifact-of-the-pipeline")
def an_artifact_of_the_pipeline() -> Dataset:
    made = write(text="x").outputs["data"]
    read(data=made)
    return made


@light
def spoil(data: Input[Dataset]) -> str:
    try:
        with open(data.path, "a") as file:
            file.write("spoiled")
    except OSError:
        return "refused"
    return "written"


@family.case(Expect(outputs={"read.Output": "x"}, states={"spoil": "SUCCEEDED"}))
@dsl.pipeline(name="an-input-cannot-be-spoiled-for-others")
def cannot_be_spoiled():
    made = write(text="x").outputs["data"]
    read(data=made).after(spoil(data=made))


@dsl.component(base_image="python:3.11")
def with_kfp(text: str, data: Output[Dataset]) -> str:
    with open(data.path, "w") as file:
        file.write(text)
    return data.name


@family.case(Expect(outputs={"with-kfp.Output": "data", "read.Output": "x"}))
@dsl.pipeline(name="the-sdks-own-defaults")
def the_sdks_own_defaults():
    read(data=with_kfp(text="x").outputs["data"])


@light
def big(data: Output[Dataset]):
    with open(data.path, "wb") as file:
        file.write(b"x" * 8_000_000)
    data.metadata["bytes"] = 8_000_000


@light
def size(data: Input[Dataset]) -> str:
    import os

    return "big" if os.path.getsize(data.path) == 8_000_000 else "small"


@family.case(Expect(outputs={"say.Output": "big"}, artifacts={"big.data": ("Dataset", {"bytes": 8_000_000})}))
@dsl.pipeline(name="a-large-artifact")
def a_large_artifact():
    say(text=size(data=big().outputs["data"]).output)


class Chart(Artifact):
    schema_title = "google.Chart"
    schema_version = "0.0.1"


@light
def draw(chart: Output[Artifact]):
    with open(chart.path, "w") as file:
        file.write("drawn")


@dsl.container_component
def draw_chart(chart: Output[Chart]):
    script = 'mkdir -p "$(dirname "$0")"; printf drawn > "$0"'
    return dsl.ContainerSpec(image="alpine:3", command=["sh", "-c", script], args=[chart.path])


@dsl.container_component
def show_chart(chart: Input[Chart], said: dsl.OutputPath(str)):
    script = 'mkdir -p "$(dirname "$1")"; cat "$0" > "$1"'
    return dsl.ContainerSpec(image="alpine:3", command=["sh", "-c", script], args=[chart.path, said])


@family.case(Expect(outputs={"show-chart.said": "drawn", "read-any.Output": "drawn"}))
@dsl.pipeline(name="types-of-the-users-own")
def own_types():
    made = draw_chart().outputs["chart"]
    show_chart(chart=made)
    read_any(data=draw().outputs["chart"])


@dsl.pipeline(name="another-pipeline-root")
def another_root():
    read(data=write(text="x").outputs["data"])


@family.scenario
def a_root_of_ones_own(driver: Driver) -> None:
    package = driver.compile(another_root)
    root = "minio://mlpipeline/conformance/root"
    result = driver.client.create_run_from_pipeline_package(package, arguments={}, pipeline_root=root)
    seen = driver.ended(result.run_id)
    assert seen.output("read.Output") == "x", seen.story()
    assert seen.artifacts("write.data")[0]["uri"].startswith(f"{root}/another-pipeline-root/{result.run_id}/write/")
