"""What may be imported ahead: only known projects, and only files that the container's own environment has too."""

from pathlib import Path

import pytest

from ketch.local.images.environments import Content
from ketch.local.images.interpreters import own_interpreter
from ketch.local.images.preloading import alike, known_throughout, preload_of, projects

TOP = "lib/python3.11/site-packages"
FILES = [f"/opt/environment/{TOP}/kfp/__init__.py", f"/opt/environment/{TOP}/kfp/dsl.py", "/usr/lib/python3.11/os.py"]


def environment(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / TOP / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


USUAL = {"kfp/__init__.py": "", "kfp/dsl.py": "pass", "_virtualenv.pth": "import _virtualenv", "kfp/more.py": "1"}


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return environment(tmp_path / "base", USUAL)


class TestAlike:
    @pytest.mark.parametrize(
        "added",
        [
            pytest.param({}, id="the same"),
            pytest.param({"requests/__init__.py": ""}, id="another project"),
            pytest.param({"kfp/pipeline_spec/x.py": ""}, id="more of the project"),
            pytest.param({"kfp/more.py": "2"}, id="another file of the project that was not imported"),
        ],
    )
    def test_what_was_imported_is_there_too(self, base, tmp_path, added):
        assert alike(base, environment(tmp_path / "other", USUAL | added), FILES)

    @pytest.mark.parametrize(
        "added",
        [
            pytest.param({"kfp/dsl.py": "evil()"}, id="another file"),
            pytest.param({"kfp/dsl/__init__.py": ""}, id="a package that comes first"),
            pytest.param({"kfp/dsl.cpython-311-x86_64-linux-gnu.so": ""}, id="an extension that comes first"),
            pytest.param({"kfp.py": ""}, id="a module of the project's name"),
            pytest.param({"setup.pth": "import x"}, id="something at every start"),
            pytest.param({"sitecustomize.py": ""}, id="a customization"),
        ],
    )
    def test_what_an_interpreter_would_see_otherwise(self, base, tmp_path, added):
        assert not alike(base, environment(tmp_path / "other", USUAL | added), FILES)

    def test_a_file_that_is_missing(self, base, tmp_path):
        other = environment(tmp_path / "other", {name: text for name, text in USUAL.items() if name != "kfp/dsl.py"})
        assert not alike(base, other, FILES)


class TestKnown:
    @pytest.mark.parametrize(
        ("requirements", "urls", "there", "known"),
        [
            (("numpy>=2",), (), ("kfp", "numpy"), True),
            (("numpy @ https://x/numpy.whl",), (), ("kfp", "numpy"), False),
            (("./numpy",), (), ("kfp", "numpy"), False),
            (("numpy",), ("https://x/simple",), ("kfp", "numpy"), False),
            (("numpy", "other"), (), ("kfp", "numpy", "other"), False),
        ],
    )
    def test_an_environment_of_known_projects_from_the_platforms_index(self, requirements, urls, there, known):
        content = Content(own_interpreter(), requirements, ('typing-extensions>=3.7; python_version<"3.9"',), urls)
        assert known_throughout(content, there) == known

    def test_projects_by_their_folders(self, tmp_path):
        for name in ("scikit_learn-1.5.0.dist-info", "Kfp-2.17.3.dist-info"):
            (tmp_path / TOP / name).mkdir(parents=True)
        assert projects(tmp_path) == {"scikit_learn": "1.5.0", "kfp": "2.17.3"}

    def test_programs_by_module_and_what_their_variables_say(self):
        assert preload_of("kfp.dsl.executor_main", {"_KFP_RUNTIME": "true"}) is not None
        assert preload_of("kfp.dsl.executor_main", {}) is None
        assert preload_of("http.server", {"_KFP_RUNTIME": "true"}) is None
