"""``pip`` inside an environment: answers at once what is satisfied, and hands everything else to uv.

Runs as ``python -m pip`` under the environment's interpreter, on its start-up path, so it imports nothing that the
interpreter has not loaded already. It judges plain requirements (``name``, or a name with versions of digits and a
``python_version`` marker) by the names of ``dist-info`` folders; anything else is uv's to understand.
"""

import os
import sys

VERSION = "26.0"
INSTALLED = "installed"
"""Beside this file: what the environment was built with, where all that those ask for themselves is there too."""

DROPPED = (
    "--disable-pip-version-check",
    "--no-cache-dir",
    "--no-color",
    "--no-input",
    "--no-python-version-warning",
    "--no-warn-conflicts",
    "--no-warn-script-location",
    "--prefer-binary",
    "--user",
    "-y",
    "--yes",
)
"""Options that change nothing of what is installed here, and that uv does not know."""

DROPPED_WITH_VALUE = (
    "--exists-action",
    "--progress-bar",
    "--retries",
    "--root-user-action",
    "--timeout",
    "--upgrade-strategy",
)
HARMLESS_WITH_VALUE = ("-i", "--index-url", "--extra-index-url", "--trusted-host")
WITH_VALUE = (
    *HARMLESS_WITH_VALUE,
    *("-c", "--constraint", "-e", "--editable", "-f", "--find-links", "-r", "--requirement", "-t", "--target"),
    *("--cache-dir", "--no-binary", "--only-binary", "--prefix", "--python-version"),
)
UV_S_NAMES = {"--trusted-host": "--allow-insecure-host", "--pre": "--prerelease=allow", "-qq": "-q", "-qqq": "-q"}
UV_S_SETTINGS = {
    "PIP_INDEX_URL": "UV_DEFAULT_INDEX",
    "PIP_EXTRA_INDEX_URL": "UV_INDEX",
    "PIP_FIND_LINKS": "UV_FIND_LINKS",
    "PIP_CERT": "SSL_CERT_FILE",
}
"""Settings for pip hold for uv, where it has none of its own."""

SILENT = ("--break-system-packages", "--no-deps", "--quiet", "-q", "-qq", "-qqq")
"""Options, beside the dropped ones, under which what is satisfied stays satisfied."""

SIGNS = ("==", "!=", "<=", ">=", "~=", "<", ">")


def normalized(name: str) -> str:
    """The name of a project as folders spell it, whatever way it was written."""
    return name.lower().replace("-", "_").replace(".", "_")


def dist_infos() -> "list[str]":
    """The dist-info folders' names of everything on the path, nearest first."""
    found: list[str] = []
    for folder in sys.path:
        try:
            names = os.listdir(folder or ".")  # noqa: PTH208  # pathlib costs more than all the rest
        except OSError:
            continue
        found += [name[: -len(".dist-info")] for name in names if name.endswith(".dist-info")]
    return found


def release(text: str) -> "tuple[int, ...] | None":
    """``1.2.0`` as (1, 2); None for a version that is more than digits and dots."""
    parts = text.strip().split(".")
    if not all(part.isdigit() for part in parts):
        return None
    numbers = [int(part) for part in parts]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def fulfils(version: str, specifier: str) -> "bool | None":
    """Whether the version is one that ``>=1,<2`` asks for; None when that is not decided here."""
    have = release(version)
    for clause in filter(None, (part.strip() for part in specifier.split(","))):
        sign = next((sign for sign in SIGNS if clause.startswith(sign)), "")
        asked = release(clause[len(sign) :]) if sign else None
        if have is None or asked is None:
            return None
        if sign == "~=":
            base = tuple(int(part) for part in clause[2:].strip().split("."))[:-1]
            padded = (*have, *[0] * len(base))
            holds = have >= asked and bool(base) and padded[: len(base)] == base
        else:
            holds = {
                "==": have == asked,
                "!=": have != asked,
                "<=": have <= asked,
                ">=": have >= asked,
                "<": have < asked,
                ">": have > asked,
            }[sign]
        if not holds:
            return False
    return True


def applies(marker: str) -> "bool | None":
    """Whether a marker holds; None when it is not one that is understood here."""
    words = marker.strip()
    if not words.startswith("python_version"):
        return None
    clause = words[len("python_version") :].strip()
    quoted = clause.lstrip("<>=!~ ")
    sign = clause[: len(clause) - len(quoted)].strip()
    if sign not in SIGNS or len(quoted) < 3 or quoted[0] not in "\"'" or quoted[-1] != quoted[0]:
        return None
    return fulfils("%d.%d" % sys.version_info[:2], sign + quoted[1:-1])  # noqa: UP031


def satisfied(requirement: str, installed: "dict[str, str]") -> bool:
    """Whether the requirement is surely satisfied by ``installed`` (versions by normalized name)."""
    text, separator, marker = requirement.partition(";")
    holds = applies(marker) if separator else True
    if holds is not True:
        return holds is False
    start = min((text.find(sign[0]) for sign in SIGNS if sign[0] in text), default=len(text))
    name, specifier = text[:start].strip(), text[start:]
    if not name.replace("-", "").replace("_", "").replace(".", "").isalnum():
        return False  # extras, URLs, paths
    if "/" in requirement or os.path.exists(requirement):  # noqa: PTH110
        return False
    version = installed.get(normalized(name))
    return version is not None and fulfils(version, specifier) is True


def translated(arguments: "list[str]") -> "tuple[list[str], list[str], bool]":
    """uv's words for pip's, the requirements among them, and whether all options are harmless ones."""
    words: list[str] = []
    requirements: list[str] = []
    harmless = True
    rest = iter(arguments)
    for word in rest:
        name, equals, _ = word.partition("=")
        if name in DROPPED:
            continue
        if name in DROPPED_WITH_VALUE:
            if not equals:
                next(rest, None)
            continue
        words.append(UV_S_NAMES.get(name, name) + word[len(name) :] if word.startswith("-") else word)
        if not word.startswith("-"):
            requirements.append(word)
        elif name in WITH_VALUE:
            harmless = harmless and name in HARMLESS_WITH_VALUE
            if not equals:
                words.append(next(rest, ""))
        else:
            harmless = harmless and word in SILENT
    return words, requirements, harmless


def nothing_to_do(arguments: "list[str]", requirements: "list[str]") -> bool:
    """Whether ``pip install`` would find everything there, with what it depends on."""
    found = dist_infos()
    installed: dict[str, str] = {}
    for name in found:
        project, _, version = name.rpartition("-")
        installed.setdefault(normalized(project), version)
    if not all(satisfied(item, installed) for item in requirements):
        return False
    if "--no-deps" in arguments:
        return True
    try:
        with open(f"{os.path.dirname(os.path.abspath(__file__))}/{INSTALLED}") as file:  # noqa: PTH100, PTH120, PTH123
            return file.read().split() == sorted(found)
    except OSError:
        return False


def become_uv(*arguments: str) -> None:
    """Turn into ``uv pip``, with pip's settings as uv's."""
    environment = {"UV_LINK_MODE": "copy", **os.environ}  # a container's cache is never where its environment is
    for name, uv_name in UV_S_SETTINGS.items():
        if name in environment:
            environment.setdefault(uv_name, environment[name])
    for folder in os.environ.get("PATH", "").split(":"):
        if os.access(f"{folder}/uv", os.X_OK):
            os.execve(f"{folder}/uv", ["uv", "pip", *arguments], environment)  # noqa: S606  # no shell is wanted
    sys.exit("pip: uv is not on PATH in this container: it is what installs packages here")


def main() -> None:
    """Do what ``sys.argv`` asks of pip."""
    command, arguments = (sys.argv[1], sys.argv[2:]) if len(sys.argv) > 1 else ("--help", [])
    if command in ("--version", "-V"):
        print("pip %s (a front for uv) (python %d.%d)" % (VERSION, *sys.version_info[:2]))  # noqa: T201, UP031
        return
    words, requirements, harmless = translated(arguments)
    if command == "install" and harmless and requirements and nothing_to_do(arguments, requirements):
        if not {"-q", "--quiet"} & set(words):
            for item in requirements:
                print("Requirement already satisfied:", item)  # noqa: T201
        return
    interpreter = () if command in ("--help", "-h", "help") else ("--python", sys.executable)
    become_uv(command, *interpreter, *words)


if __name__ == "__main__":
    main()
