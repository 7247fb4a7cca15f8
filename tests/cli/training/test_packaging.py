"""What a user names as a program, and what travels with it."""

import subprocess
import sys
from pathlib import Path

import pytest

from ketch.cli.training.packaging import ENTRY, LAUNCHER, PackagingProblem, is_program, package


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("words", "program"),
    [
        ("train.py", True),
        ("pytorchjob/job", False),
        ("pkg.mod:main", True),
        ("job-1", False),
        ("pytorchjob.x", False),
    ],
)
def test_what_is_a_program(words: str, program: bool):
    assert is_program(words) is program


def test_a_script_travels_with_its_arguments_and_what_is_beside_it(here: Path):
    (here / "Train It.py").write_text("print(1)")
    (here / "data").mkdir()
    (here / "data" / "a.bin").write_bytes(b"\xff\x00")
    (here / "data" / ".hidden").write_text("x")
    (here / "data" / "__pycache__").mkdir()
    (here / "data" / "__pycache__" / "x.pyc").write_text("x")
    program = package("Train It.py", ["--epochs", "3"], [Path("data")])
    assert (program.name, program.script, program.arguments) == ("train-it", "Train It.py", ["--epochs", "3"])
    assert set(program.files) == {"Train It.py", "data/a.bin", LAUNCHER}
    content = program.config_map()
    assert content["binaryData"] == {"1": "/wA="}
    assert content["data"]["0"] == "print(1)"
    assert program.items()[1] == {"key": "1", "path": "data/a.bin"}


def test_all_of_a_folder_is_what_is_in_it(here: Path):
    (here / "train.py").write_text("")
    (here / "sub").mkdir()
    (here / "sub" / "b.py").write_text("")
    assert set(package("train.py", [], [Path()]).files) == {"train.py", "sub/b.py", LAUNCHER}


def test_a_function_is_called_with_values(here: Path):
    (here / "work.py").write_text("def go(*given, **named):\n    print(given, named)\n")
    program = package("work.py:go", ["3", "word", "rate=0.1", 'names=["a"]', "text=a=b"])
    assert (program.name, program.script) == ("go", ENTRY)
    for path, content in program.files.items():
        (here / path).write_bytes(content)
    result = subprocess.run([sys.executable, ENTRY], check=True, text=True, capture_output=True)
    assert result.stdout == "(3, 'word') {'rate': 0.1, 'names': ['a'], 'text': 'a=b'}\n"


def test_a_module_of_a_package_travels_with_the_package(here: Path):
    (here / "pkg" / "sub").mkdir(parents=True)
    for path in ("pkg/__init__.py", "pkg/sub/__init__.py", "pkg/other.py"):
        (here / path).write_text("")
    (here / "pkg" / "sub" / "train.py").write_text("def main(): pass")
    program = package("pkg.sub.train:main", [])
    assert {"pkg/__init__.py", "pkg/sub/train.py", "pkg/other.py"} < set(program.files)
    (here / "alone.py").write_text("from pkg.sub.train import main")
    assert "alone.py" in package("alone:main", []).files


@pytest.mark.parametrize(
    ("words", "beside", "message"),
    [
        ("gone.py", "", "there is no file gone.py"),
        ("gone:main", "", "there is no module gone"),
        ("pkg.gone:main", "", "the package pkg has no module pkg.gone"),
        ("gone.sub:main", "", "there is no package gone"),
        ("no module:main", "", "is no module"),
        ("train.py:nothing", "", "there is no nothing in train"),
        ("gone.py:main", "", "there is no file gone.py"),
        ("my-script.py:main", "", "is no name of a module"),
        ("train.py", "gone", "there is no file or folder gone"),
        ("train.py", "large.bin", "at most 1 MiB travels"),
        ("train.py", "large", "more than the 1 MiB"),
    ],
)
def test_what_cannot_travel_is_told(here: Path, words: str, beside: str, message: str):
    (here / "pkg").mkdir()
    (here / "pkg" / "__init__.py").write_text("")
    (here / "train.py").write_text("def main(): pass")
    (here / "my-script.py").write_text("def main(): pass")
    (here / "large.bin").write_bytes(b"x" * (1 << 20))
    (here / "large").mkdir()
    (here / "large" / "x").write_bytes(b"x" * (2 << 20))
    with pytest.raises(PackagingProblem, match=message):
        package(words, [], [Path(beside)] if beside else [])


def test_a_program_runs_where_it_may_write_beside_its_files(here: Path):
    (here / "train.py").write_text(
        "import sys\nopen('left', 'w').write('x')\nprint(open('data').read(), *sys.argv[1:])\n"
    )
    (here / "data").write_text("there")
    program = package("train.py", ["a", "--b"], [Path("data")])
    folder = here / "mounted"
    folder.mkdir()
    for path, content in program.files.items():
        (folder / path).write_bytes(content)
    command = [sys.executable, str(folder / LAUNCHER), "python", program.script, *program.arguments]
    result = subprocess.run(command, check=True, text=True, capture_output=True)
    assert result.stdout == "there a --b\n"
    assert not (folder / "left").exists()
