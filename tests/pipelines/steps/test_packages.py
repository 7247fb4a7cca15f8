"""The pip lines that the SDK generates, read back."""

import pytest
from kfp.dsl import component_factory

from ketch.pipelines.steps.packages import Packages, packages_of


def generated(**settings: object) -> list[str]:
    return component_factory._get_packages_to_install_command(**settings)


KFP = ("kfp==2.17.3", 'typing-extensions>=3.7.4,<5; python_version<"3.9"')


@pytest.mark.parametrize(
    ("settings", "requirements", "indexes"),
    [
        pytest.param({}, KFP, (), id="kfp alone"),
        pytest.param({"packages_to_install": ["a==1", "b[x]>=2,<3"]}, ("a==1", "b[x]>=2,<3", *KFP), (), id="packages"),
        pytest.param({"install_kfp_package": False, "packages_to_install": ["a"]}, ("a",), (), id="without kfp"),
        pytest.param({"packages_to_install": ["kfp==2.0.0"]}, ("kfp==2.0.0",), (), id="a kfp of one's own"),
        pytest.param(
            {"packages_to_install": ["a"], "pip_index_urls": ["https://x/simple", "https://y/simple"]},
            ("a", *KFP),
            ("https://x/simple", "https://y/simple"),
            id="indexes",
        ),
        pytest.param({"packages_to_install": ["a"], "use_venv": True}, ("a", *KFP), (), id="a virtual environment"),
        pytest.param({"packages_to_install": ["a @ git+https://h/r@v1#egg=a"]}, ("a @ git+https://h/r@v1#egg=a", *KFP),
                     (), id="an address"),
        pytest.param({"install_kfp_package": False}, (), (), id="nothing"),
    ],
)  # fmt: skip
def test_generated_lines(settings: dict[str, object], requirements: tuple[str, ...], indexes: tuple[str, ...]) -> None:
    alone = KFP if set(KFP) <= set(requirements) else ()
    assert packages_of(generated(**settings)) == Packages(requirements, indexes, alone)


def test_other_commands_install_nothing() -> None:
    assert packages_of(["python3", "-m", "train"]) == Packages()
    assert packages_of(["sh", "-c", "echo 'python3 -m pip install"]) == Packages()
