"""Commands that the SDK generates, read back as processes; whatever differs from them is left alone."""

import warnings
from pathlib import Path

import msgspec
import pytest
from kfp.dsl import component_factory

from ketch.pipelines.steps.process import Process, process_of


def double(number: int) -> int:
    return 2 * number


def generated(**settings: object) -> list[str]:
    """The words of a lightweight component, command and args together."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        container = component_factory.create_component_from_func(double, **settings).component_spec.implementation
    spec = container.container
    assert spec is not None
    return [*spec.command, *(str(word) for word in spec.args)]


def with_word(words: list[str], number: int, old: str, new: str) -> list[str]:
    assert old in words[number]
    return [*words[:number], words[number].replace(old, new), *words[number + 1 :]]


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        pytest.param({}, 6, id="as it is"),
        pytest.param({"install_kfp_package": False}, 3, id="without an installation"),
        pytest.param({"packages_to_install": ["a==1", "b[x]>=2,<3", "c; python_version<'3'"]}, 6, id="packages"),
        pytest.param({"packages_to_install": ["a @ git+https://h/r@v1#egg=a"]}, 6, id="an address"),
        pytest.param(
            {"pip_index_urls": ["https://x/simple", "https://y/simple"], "pip_trusted_hosts": ["y"]}, 6, id="indexes"
        ),
        pytest.param({"packages_to_install": ["kfp==2.0.0"]}, 6, id="a kfp of one's own"),
    ],
)
def test_a_lightweight_component(settings: dict[str, object], text: int) -> None:
    words = generated(**settings)
    found = process_of(words)
    assert found == Process(
        container="main",
        program="python3",
        module="kfp.dsl.executor_main",
        first=text + 1,
        text=text,
        text_name="ephemeral_component.py",
        option="--component_module_path",
        env={"_KFP_RUNTIME": "true"},
    )
    assert "def double(number: int)" in words[text]
    assert words[text + 1 :] == ["--executor_input", "{{$}}", "--function_to_execute", "double"]


def test_what_travels_with_the_text_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "data.txt").write_text("data")
    words = generated(embedded_artifact_path=str(tmp_path))
    found = process_of(words)
    assert found is not None
    assert "__KFP_EMBEDDED_ARCHIVE_B64" in words[found.text]


def test_the_annotation_is_short_and_names_its_fields_as_kubernetes_does() -> None:
    encoded = msgspec.json.decode(msgspec.json.encode(process_of(generated())))
    assert set(encoded) == {"container", "program", "module", "first", "text", "text-name", "option", "env"}


def test_an_older_sdks_module_is_said_as_it_is() -> None:
    words = with_word(generated(), 5, "_KFP_RUNTIME=true python3 -m kfp.dsl", "python3 -m kfp.components")
    found = process_of(words)
    assert found is not None
    assert (found.module, found.env) == ("kfp.components.executor_main", {})


LINE = "python3 -m pip install --quiet --no-warn-script-location"


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(generated(use_venv=True), id="a virtual environment"),
        pytest.param(["python3", "-m", "train"], id="a module"),
        pytest.param([], id="nothing"),
        pytest.param(["sh", "-c", "exec true"], id="a shell's own"),
        pytest.param(generated()[:6], id="no text"),
        pytest.param(with_word(generated(), 0, "sh", "bash"), id="another shell"),
        pytest.param(with_word(generated(), 4, "-ec", "-c"), id="a shell that goes on"),
        pytest.param(with_word(generated(), 5, "mktemp -d", "mktemp -d -p /x"), id="another directory"),
        pytest.param(with_word(generated(), 5, "python3 -m", "python3 -O -m"), id="an option of the interpreter"),
        pytest.param(with_word(generated(), 5, "_KFP_RUNTIME", "A=b _KFP_RUNTIME"), id="another variable"),
        pytest.param(with_word(generated(), 5, '"$@"', '"$@" | tee log'), id="more behind it"),
        pytest.param(with_word(generated(), 5, "program_path=", "true; program_path="), id="more before it"),
        pytest.param(with_word(generated(), 2, LINE, f"{LINE} -r list.txt"), id="packages from a file"),
        pytest.param(with_word(generated(), 2, LINE, f"{LINE} --target /x"), id="packages elsewhere"),
        pytest.param(with_word(generated(), 2, LINE, f"{LINE} ./here"), id="a package from a directory"),
        pytest.param(with_word(generated(), 2, LINE, f"{LINE} \"$(id)\""), id="what a shell would read"),
        pytest.param(with_word(generated(), 2, LINE, f"{LINE} a > log"), id="a redirection"),
        pytest.param(with_word(generated(), 2, LINE, f"id; {LINE}"), id="another command"),
        pytest.param(with_word(generated(), 2, '&& "$0" "$@"', '; "$0" "$@"'), id="a failed installation"),
    ],
)  # fmt: skip
def test_anything_else_runs_as_it_stands(words: list[str]) -> None:
    assert process_of(words) is None
