"""Images by name: resolved, built when needed, cached by content.

What a name means is decided in this order: what the data directory maps it to, then what every platform knows.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from uv import find_uv_bin

from ketch.local.images.environments import (
    MOUNT,
    BuildFailed,
    Content,
    Environments,
    merged_requirements,
    without,
)
from ketch.local.images.interpreters import Interpreters
from ketch.local.images.names import MappingInvalid, Recipe, Rule, find_recipe, parse_rules
from ketch.local.images.nesting import nesting_mounts
from ketch.local.images.own import SEARCH, own_digest, own_mounts
from ketch.local.images.remote import PROGRAMS, launches_processes, remote_shell_mounts, variables
from ketch.local.images.rootfs import HOME, SEARCH_PATH, account_files, outside_system, system_mounts, writable_mounts
from ketch.local.sandbox.spec import Mount

MAPPINGS = "images.json"
ENVIRONMENTS = "environments"
TOOLS = "/opt/ketch/bin"


class ImageError(Exception):
    """The image cannot be had; the message is a sentence for the user."""


class ImageUnknown(ImageError):
    """Nothing on this machine says what the name means."""


class ImageBuildFailed(ImageError):
    """Its environment cannot be built; the message ends with uv's own words."""


@dataclass(frozen=True)
class Image:
    """What a container of this image starts from."""

    name: str
    digest: str
    mounts: tuple[Mount, ...]
    env: Mapping[str, str]
    argv: tuple[str, ...]
    working_dir: str = "/"
    notes: tuple[str, ...] = ()
    """What differs from the image's promise, each a sentence."""

    environment: Path | None = None
    content: Content | None = None
    """The Python environment in it, if there is one: where it is, and what it is made of."""


class Images:
    """The images of one data directory; ``environments`` are what they are made of."""

    def __init__(self, data_dir: Path) -> None:
        self._mappings = data_dir / MAPPINGS
        self.environments = Environments(data_dir / ENVIRONMENTS)
        self._interpreters = Interpreters()
        self._uv = find_uv_bin()  # asked once: it costs more than all the rest of an image that is there
        self._written = data_dir / ENVIRONMENTS / "etc"
        accounts = account_files(self._written)
        self._base = (*system_mounts(), *accounts, *writable_mounts())

    async def resolve(
        self,
        image: str,
        packages: Sequence[str] = (),
        index_urls: Sequence[str] = (),
        alone: Sequence[str] = (),
    ) -> Image:
        """The image, its environment built if it is not there yet, with ``packages`` added.

        Those of them that are ``alone`` too are installed without what they ask for themselves.

        Raises ImageUnknown, ImageBuildFailed.
        """
        try:
            recipe = find_recipe(image, self._rules())
        except MappingInvalid as error:
            raise ImageUnknown(str(error)) from error
        if recipe is None:
            raise ImageUnknown(
                f'nothing on this machine says what image "{image}" means: map it to a Python environment in '
                f'{self._mappings}, for example [{{"pattern": "{image}", "python": "3.11", "requirements": []}}]'
            )
        if recipe.own:
            return await self._own(image, recipe)
        if recipe.python is None:
            digest = hashlib.sha256(b"system").hexdigest()
            env = {"PATH": SEARCH_PATH, "HOME": HOME}
            return Image(image, f"sha256:{digest}", self._base, env, recipe.argv)
        requirements = merged_requirements(recipe.requirements, [each for each in packages if each not in alone])
        apart = tuple(without(merged_requirements(recipe.alone, alone), requirements))
        return await self._python(image, recipe, requirements, apart, tuple(index_urls))

    def _rules(self) -> Sequence[Rule]:
        try:
            text = self._mappings.read_text()
        except FileNotFoundError:
            return ()
        try:
            return parse_rules(json.loads(text), str(self._mappings))
        except json.JSONDecodeError as error:
            raise MappingInvalid(f"{self._mappings} is not JSON: {error}") from error

    async def _own(self, image: str, recipe: Recipe) -> Image:
        interpreter = await self._interpreters.find("")
        assert interpreter is not None
        mounts = (*self._base, *own_mounts(interpreter, TOOLS))
        env = {
            "PATH": f"{TOOLS}:{SEARCH_PATH}",
            "HOME": HOME,
            "PYTHONPATH": SEARCH,
            "PYTHONDONTWRITEBYTECODE": "1",
            "LANG": "C.UTF-8",
        }
        return Image(image, f"sha256:{own_digest()}", mounts, env, recipe.argv)

    async def _python(
        self,
        image: str,
        recipe: Recipe,
        requirements: tuple[str, ...],
        alone: tuple[str, ...],
        index_urls: tuple[str, ...],
    ) -> Image:
        interpreter, notes = await self._interpreters.find(recipe.python or ""), ()
        if interpreter is None:
            interpreter = await self._interpreters.find("")
            assert interpreter is not None
            notes = (f"this machine has no Python {recipe.python}: {image} runs on Python {interpreter.minor}",)
        content = Content(interpreter, requirements, alone, index_urls)
        try:
            path = await self.environments.ensure(content)
        except BuildFailed as error:
            raise ImageBuildFailed(f'the environment for image "{image}" cannot be built: {error}') from error
        mounts = [*self._base, Mount("overlay", MOUNT, str(path)), Mount("ro-bind", f"{TOOLS}/uv", self._uv)]
        if outside_system(interpreter.prefix):
            mounts.append(Mount("ro-bind", str(interpreter.prefix), str(interpreter.prefix)))
        mounts += nesting_mounts(interpreter, MOUNT, self._written)
        env = {
            "PATH": f"{MOUNT}/bin:{SEARCH_PATH}:{TOOLS}",
            "HOME": HOME,
            "VIRTUAL_ENV": MOUNT,
            "PYTHON_VERSION": ".".join(map(str, interpreter.version)),
            "LANG": "C.UTF-8",
        }
        if launches_processes(path):
            mounts += remote_shell_mounts(f"{MOUNT}/bin/python3", self._written)
            env = {**env, **variables(path, MOUNT), "PATH": f"{PROGRAMS}:{env['PATH']}"}
        return Image(
            image,
            f"sha256:{content.key}",
            tuple(mounts),
            env,
            recipe.argv,
            notes=notes,
            environment=path,
            content=content,
        )
