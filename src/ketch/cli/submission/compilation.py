"""A pipeline file as the IR that the API takes: YAML as it stands, Python by the official SDK in a process of its own.

The user's module runs in an interpreter of its own (``submission.compiler``); where it fails is the user's to see.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import yaml


class CompilationError(Exception):
    """The file is no pipeline; the message says what is wrong with it."""


def _last_words(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return "\n".join(lines[-12:]) or "the compiler gave no reason"


def compile_python(path: Path, pipeline: str) -> str:
    """The IR (YAML) of the pipeline that ``path`` defines. Raises CompilationError, or OSError if it cannot be read."""
    path.open().close()
    with tempfile.TemporaryDirectory(prefix="ketch-") as folder:
        target = Path(folder) / "pipeline.yaml"
        argv = [
            sys.executable,
            "-W",
            "ignore",
            "-m",
            "ketch.cli.submission.compiler",
            str(path.absolute()),
            str(target),
            pipeline,
        ]
        result = subprocess.run(argv, check=False, text=True, stderr=subprocess.PIPE)
        if result.returncode or not target.exists():
            raise CompilationError(f"{path} does not compile:\n{_last_words(result.stderr)}")
        return target.read_text()


def load_pipeline(path: Path, pipeline: str = "") -> dict[str, object]:
    """What ``path`` (.py, .yaml, .yml or .json) describes, as the ``pipeline_spec`` of a run.

    Raises CompilationError for a file that cannot be read, does not compile, or is no pipeline.
    """
    try:
        text = compile_python(path, pipeline) if path.suffix == ".py" else path.read_text()
        documents = [document for document in yaml.safe_load_all(text) if document]
    except OSError as error:
        raise CompilationError(f"cannot read {path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise CompilationError(f"{path} is not YAML: {error}") from error
    if not documents or not all(isinstance(document, dict) for document in documents):
        raise CompilationError(f"{path} holds no pipeline: give a .py with a @dsl.pipeline, or its compiled .yaml")
    if len(documents) == 1:
        return documents[0]
    return {"pipeline_spec": documents[0], "platform_spec": documents[1]}
