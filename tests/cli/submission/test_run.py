"""What `ketch run` makes of files: pipelines, and what is none."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from ketch.cli.main import application
from ketch.cli.submission.compilation import CompilationError, load_pipeline
from ketch.cli.submission.run import disable_caching

EXAMPLE = Path(__file__).parents[3] / "examples" / "digits" / "pipeline.py"
TWO_PIPELINES = """
from kfp import dsl

@dsl.component
def step(): ...

@dsl.pipeline
def one(): step()

@dsl.pipeline
def two(): step()
"""


def test_a_python_file_becomes_the_sdk_s_intermediate_representation():
    spec = load_pipeline(EXAMPLE)
    assert spec["pipelineInfo"]["name"] == "digits"
    assert set(spec["root"]["dag"]["tasks"]) == {"load", "train-linear", "train-forest", "choose"}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        pytest.param("p.py", "x = 1", "no @dsl.pipeline in p.py", id="no pipeline in it"),
        pytest.param(
            "p.py", TWO_PIPELINES, r"several pipelines \(one, two\): choose one with --pipeline", id="two of them"
        ),
        pytest.param("p.py", "def broken(:", "SyntaxError", id="not Python"),
        pytest.param("p.py", "raise ValueError('no data')", "ValueError: no data", id="it raises"),
        pytest.param("p.yaml", "a: [", "p.yaml is not YAML", id="not YAML"),
        pytest.param("p.yaml", "", "p.yaml holds no pipeline", id="empty"),
        pytest.param("p.yaml", "- 1", "p.yaml holds no pipeline", id="a list"),
    ],
)
def test_a_file_that_is_no_pipeline_is_refused_with_the_reason(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(CompilationError, match=message):
        load_pipeline(tmp_path / name)


def test_one_of_several_pipelines_can_be_chosen(tmp_path):
    (tmp_path / "p.py").write_text(TWO_PIPELINES)
    assert load_pipeline(tmp_path / "p.py", "two")["pipelineInfo"]["name"] == "two"


def test_of_several_pipelines_the_one_around_the_others_is_meant(tmp_path):
    (tmp_path / "p.py").write_text(TWO_PIPELINES.replace("def two(): step()", "def two(): one()"))
    assert load_pipeline(tmp_path / "p.py")["pipelineInfo"]["name"] == "two"


def test_what_a_pipeline_raises_is_shown_with_its_own_frames_alone(tmp_path):
    (tmp_path / "p.py").write_text("from kfp import dsl\n\n@dsl.pipeline\ndef broken():\n    undefined_step()\n")
    with pytest.raises(CompilationError) as refused:
        load_pipeline(tmp_path / "p.py")
    assert "in broken\n    undefined_step()" in str(refused.value)
    assert str(refused.value).splitlines()[-1] == "NameError: name 'undefined_step' is not defined"
    assert "site-packages" not in str(refused.value)


@pytest.mark.parametrize("name", ["absent.py", "absent.yaml"])
def test_a_missing_file_ends_the_command_with_2_and_names_it(tmp_path, name):
    result = CliRunner().invoke(application, ["run", str(tmp_path / name)])
    assert result.exit_code == 2
    assert f"cannot read {tmp_path / name}: No such file or directory" in result.stderr


def test_an_absent_platform_ends_the_command_with_3(tmp_path):
    (tmp_path / "p.yaml").write_text("pipelineInfo: {name: x}")
    result = CliRunner().invoke(application, ["run", str(tmp_path / "p.yaml"), "--host", "http://127.0.0.1:9"])
    assert result.exit_code == 3
    assert "start one with 'ketch up'" in result.stderr


def test_caching_is_switched_off_in_nested_pipelines_too():
    spec = {
        "root": {"dag": {"tasks": {"a": {"cachingOptions": {"enableCache": True}}}}},
        "components": {"inner": {"dag": {"tasks": {"b": {"cachingOptions": {"enableCache": True}}}}}},
    }
    disable_caching(spec)
    assert (
        spec["root"]["dag"]["tasks"]["a"] == spec["components"]["inner"]["dag"]["tasks"]["b"] == {"cachingOptions": {}}
    )
