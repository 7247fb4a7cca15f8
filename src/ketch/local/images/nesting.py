"""What a virtual environment made inside a container sees of its image with ``--system-site-packages``.

In an image that is what the image's Python has installed. Here that Python is a virtual environment itself, and one
made from it sees the packages of the interpreter behind both: the machine's. In their place stands a folder that
leads to the environment.
"""

from collections.abc import Iterator
from pathlib import Path

from ketch.local.images.interpreters import Interpreter
from ketch.local.sandbox.spec import Mount

_LINE = "import site; site.addsitedir({!r})\n"


def nesting_mounts(interpreter: Interpreter, environment: str, folder: Path) -> Iterator[Mount]:
    """The mount over ``interpreter``'s own packages; its source is written below ``folder``."""
    minor = interpreter.minor
    places = (f"local/lib/python{minor}/dist-packages", f"lib/python{minor}/site-packages")  # Debian's own; all others
    place = next((each for each in places if (interpreter.prefix / each).is_dir()), None)
    if place is None:
        return
    source = folder / f"site-{minor}"
    source.mkdir(parents=True, exist_ok=True, mode=0o755)
    path = source / "environment.pth"
    line = _LINE.format(f"{environment}/lib/python{minor}/site-packages")
    if not path.exists() or path.read_text() != line:
        path.write_text(line)
    yield Mount("ro-bind", str(interpreter.prefix / place), str(source))
