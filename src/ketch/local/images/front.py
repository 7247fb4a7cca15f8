"""``pip`` inside an environment: answers at once what is satisfied, and hands everything else to uv.

Runs as ``python -m pip`` under the environment's interpreter, so it imports next to nothing. Only requirements of
the forms ``name`` and ``name==version`` (with a ``python_version`` marker or none) are judged here, by the names of
the ``dist-info`` folders; anything else is uv's to understand.
"""

import os
import re
import sys

PIP_S_OWN = frozenset(
    [
        "--no-warn-script-location",
        "--disable-pip-version-check",
        "--user",
        "--no-input",
        "--root-user-action=ignore",
        "-qq",
        "--no-cache-dir",
    ]
)
"""Options that change nothing of what is installed, and that uv does not know."""

SILENT = PIP_S_OWN | frozenset(["-q", "--quiet", "--no-deps", "--break-system-packages"])
"""Options under which a satisfied requirement is satisfied."""

WITH_VALUE = frozenset(["-i", "--index-url", "--extra-index-url", "--trusted-host", "-f", "--find-links"])
UV_S_NAMES = {"-i": "--index-url", "--trusted-host": "--allow-insecure-host", "-f": "--find-links"}
REQUIREMENT = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[A-Za-z0-9,._ -]*\])?\s*(?:==\s*([A-Za-z0-9.!+_-]+))?$")
MARKER = re.compile(r"""^\s*python_version\s*(<|<=|>|>=|==)\s*["'](\d+)\.(\d+)["']\s*$""")
SEPARATORS = re.compile(r"[-_.]+")


def _installed() -> "dict[str, str]":
    """Versions by normalized name, of everything on the path."""
    found: dict[str, str] = {}
    for folder in sys.path:
        try:
            names = os.listdir(folder or ".")  # noqa: PTH208  # pathlib costs more than all the rest
        except OSError:
            continue
        for name in names:
            if name.endswith(".dist-info"):
                project, _, version = name[: -len(".dist-info")].rpartition("-")
                found.setdefault(SEPARATORS.sub("-", project).lower(), version)
    return found


def _applies(marker: str) -> "bool | None":
    """Whether a marker holds; None when it is not one that is understood here."""
    match = MARKER.match(marker)
    if match is None:
        return None
    here, there = tuple(sys.version_info[:2]), (int(match.group(2)), int(match.group(3)))
    sign = match.group(1)
    return {"<": here < there, "<=": here <= there, ">": here > there, ">=": here >= there, "==": here == there}[sign]


def _satisfied(requirement: str, installed: "dict[str, str]") -> bool:
    text, separator, marker = requirement.partition(";")
    applies = _applies(marker) if separator else True
    if applies is False:
        return True
    match = REQUIREMENT.match(text.strip())
    if match is None or applies is None or "[" in text:
        return False
    version = installed.get(SEPARATORS.sub("-", match.group(1)).lower())
    return version is not None and match.group(2) in (None, version)


def _split(arguments: "list[str]") -> "tuple[list[str], list[str], bool]":
    """uv's options, the requirements, and whether this front understands every option."""
    options: list[str] = []
    requirements: list[str] = []
    understood = True
    words = iter(arguments)
    for word in words:
        name, equals, value = word.partition("=")
        if word in SILENT:
            if word not in PIP_S_OWN:
                options.append("--quiet" if word == "-q" else word)
        elif name in WITH_VALUE and name.startswith("-"):
            options += [UV_S_NAMES.get(name, name), value if equals else next(words, "")]
        elif word.startswith("-"):
            options.append(word)
            understood = False
        else:
            requirements.append(word)
    return options, requirements, understood


def _uv() -> str:
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        if os.access(f"{folder}/uv", os.X_OK):
            return f"{folder}/uv"
    sys.exit("pip: uv is not on PATH in this container: it is what installs packages here")


def main() -> None:
    """Do what ``sys.argv`` asks of pip."""
    command, arguments = (sys.argv[1], sys.argv[2:]) if len(sys.argv) > 1 else ("--help", [])
    if command in ("--version", "-V"):
        print("pip 26.0 from Ketch, a front for uv (python %d.%d)" % tuple(sys.version_info[:2]))  # noqa: T201, UP031
        return
    if command != "install":
        uv = _uv()
        os.execv(uv, [uv, "pip", command, *arguments])  # noqa: S606  # no shell is wanted
    options, requirements, understood = _split(arguments)
    if (
        understood
        and requirements
        and all(_satisfied(item, installed) for installed in [_installed()] for item in requirements)
    ):
        if "--quiet" not in options:
            for item in requirements:
                print("Requirement already satisfied:", item)  # noqa: T201
        return
    uv = _uv()
    os.execv(uv, [uv, "pip", "install", "--python", sys.executable, *options, *requirements])  # noqa: S606


if __name__ == "__main__":
    main()
