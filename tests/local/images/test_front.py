"""The pip inside environments: what it answers by itself, and what it hands to uv."""

import pytest

from ketch.local.images.front import applies, fulfils, satisfied, translated

INSTALLED = {"kfp": "2.17.3", "scikit_learn": "1.7", "odd": "1.0rc1"}


@pytest.mark.parametrize(
    ("requirement", "expected"),
    [
        pytest.param("kfp", True, id="a name"),
        pytest.param("kfp==2.17.3", True, id="a version"),
        pytest.param("kfp == 2.17.3", True, id="a version with blanks"),
        pytest.param("kfp==2.17", False, id="another version"),
        pytest.param("kfp>=2.7,<3", True, id="a range"),
        pytest.param("kfp>=2.7,!=2.17.3", False, id="an exclusion"),
        pytest.param("kfp~=2.17", True, id="compatible"),
        pytest.param("kfp~=2.16.1", False, id="not compatible"),
        pytest.param("scikit-learn==1.7.0", True, id="another spelling of name and version"),
        pytest.param("Scikit.Learn", True, id="a name in capitals"),
        pytest.param("absent", False, id="not there"),
        pytest.param("kfp[all]", False, id="extras are uv's to judge"),
        pytest.param("kfp==2.*", False, id="wildcards are uv's to judge"),
        pytest.param("odd==1.0rc1", False, id="pre-releases are uv's to judge"),
        pytest.param("kfp @ https://example.org/kfp.whl", False, id="a URL"),
        pytest.param("./kfp", False, id="a path"),
        pytest.param("absent>=1; python_version<'3.0'", True, id="a marker that does not hold"),
        pytest.param('absent; python_version>="3"', False, id="a marker that holds"),
        pytest.param("absent; sys_platform=='win32'", False, id="other markers are uv's to judge"),
    ],
)
def test_what_is_surely_satisfied(requirement, expected):
    assert satisfied(requirement, INSTALLED) is expected


def test_versions_compare_as_numbers():
    assert fulfils("1.10", ">=1.9") is True
    assert fulfils("1.10", ">=1.9rc1") is None
    assert applies('python_version < "3.9"') is False


@pytest.mark.parametrize(
    ("arguments", "words", "requirements", "harmless"),
    [
        pytest.param(
            ["--quiet", "--no-warn-script-location", "kfp==2.17.3", "--no-deps"],
            ["--quiet", "kfp==2.17.3", "--no-deps"],
            ["kfp==2.17.3"],
            True,
            id="the Pipelines SDK's own line",
        ),
        pytest.param(["-r", "r.txt", "--upgrade"], ["-r", "r.txt", "--upgrade"], [], False, id="a requirements file"),
        pytest.param(
            ["--trusted-host", "pypi.example", "-i", "http://pypi.example", "a"],
            ["--allow-insecure-host", "pypi.example", "-i", "http://pypi.example", "a"],
            ["a"],
            True,
            id="an index",
        ),
        pytest.param(
            ["--trusted-host=x", "--pre", "a"],
            ["--allow-insecure-host=x", "--prerelease=allow", "a"],
            ["a"],
            False,
            id="options with values and other names",
        ),
        pytest.param(["--timeout", "9", "--retries=3", "a"], ["a"], ["a"], True, id="values that uv does not want"),
    ],
)
def test_pips_words_as_uvs(arguments, words, requirements, harmless):
    assert translated(arguments) == (words, requirements, harmless)
