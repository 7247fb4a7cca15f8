"""Images by name: resolved, built when needed, cached by content.

What a name means is decided in this order: an OCI image that is kept here, what the data directory maps it to, what
every platform knows, what a registry has.
"""

import hashlib
from collections.abc import Sequence
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
from ketch.local.images.image import Image
from ketch.local.images.interpreters import Interpreters
from ketch.local.images.mappings import read_mappings
from ketch.local.images.names import MappingInvalid, Recipe, find_recipe
from ketch.local.images.nesting import nesting_mounts
from ketch.local.images.oci.errors import OCIError
from ketch.local.images.oci.references import ImageName, NameInvalid
from ketch.local.images.oci.store import PULLED
from ketch.local.images.own import SEARCH, own_digest, own_mounts
from ketch.local.images.remote import PROGRAMS, launches_processes, remote_shell_mounts, variables
from ketch.local.images.rootfs import HOME, SEARCH_PATH, account_files, outside_system, system_mounts, writable_mounts
from ketch.local.images.stored import PullFailed, PullPolicy, StoredImages, Wanted
from ketch.local.sandbox.spec import Mount

ENVIRONMENTS = "environments"
TOOLS = "/opt/ketch/bin"


ANYHOW = Wanted()


class ImageError(Exception):
    """The image cannot be had; the message is a sentence for the user, ``reason`` the kubelet's word for it."""

    reason = "ErrImagePull"


class ImageUnknown(ImageError):
    """Nothing on this machine says what the name means, and no registry does."""


class ImagePullFailed(ImageError):
    """The image is kept here, but its registry, which is to be asked always, does not answer well."""


class ImageNameInvalid(ImageError):
    """No image can have this name."""

    reason = "InvalidImageName"


class ImageNeverPulled(ImageError):
    """The image is not here, and no registry may be asked."""

    reason = "ErrImageNeverPull"


class ImageBuildFailed(ImageError):
    """Its environment cannot be built; the message ends with uv's own words."""


class Images:
    """The images of one data directory; ``environments`` are what they are made of."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self.stored = StoredImages(data_dir)
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
        wanted: Wanted = ANYHOW,
    ) -> Image:
        """The image: pulled, or its environment built with ``packages`` added, if it is not there yet.

        Those of them that are ``alone`` too are installed without what they ask for themselves. What an OCI image has
        is its own: nothing is added to it.

        Raises ImageError.
        """
        name, complaint = _parsed(image)
        try:
            if name is not None and (kept := await self._kept(image, name, wanted)) is not None:
                return kept
            recipe = find_recipe(image, read_mappings(self._data_dir))
        except MappingInvalid as error:
            raise ImageUnknown(str(error)) from error
        if recipe is None:
            if name is None:
                raise ImageNameInvalid(f'Failed to apply default image tag "{image}": {complaint}')
            return await self._pulled(image, name, wanted)
        if recipe.own:
            return await self._own(image, recipe)
        if recipe.python is None:
            digest = hashlib.sha256(b"system").hexdigest()
            env = {"PATH": SEARCH_PATH, "HOME": HOME}
            return Image(image, f"sha256:{digest}", self._base, env, recipe.argv)
        requirements = merged_requirements(recipe.requirements, [each for each in packages if each not in alone])
        apart = tuple(without(merged_requirements(recipe.alone, alone), requirements))
        return await self._python(image, recipe, requirements, apart, tuple(index_urls))

    async def _kept(self, image: str, name: ImageName, wanted: Wanted) -> Image | None:
        """The OCI image that is kept here; of one that is to be pulled always, what the registry has now."""
        try:
            stored = self.stored.find(name)
            if stored is None:
                return None
            if wanted.policy is PullPolicy.ALWAYS and stored.origin == PULLED and not name.digest:
                await self.stored.pull(name, wanted)
                stored = self.stored.find(name) or stored
            return self.stored.image(image, stored)
        except (OCIError, PullFailed) as error:
            raise ImagePullFailed(str(error)) from error

    async def _pulled(self, image: str, name: ImageName, wanted: Wanted) -> Image:
        """The image from its registry."""
        if wanted.policy is PullPolicy.NEVER:
            raise ImageNeverPulled(
                f'Container image "{image}" is not present with pull policy of Never: import it (ketch image import), '
                "pull it (ketch image pull), or set imagePullPolicy: IfNotPresent"
            )
        try:
            await self.stored.pull(name, wanted)
            if (stored := self.stored.find(name)) is not None:
                return self.stored.image(image, stored)
        except (OCIError, PullFailed) as error:
            raise ImageUnknown(
                f'nothing on this machine says what image "{image}" means, and it cannot be pulled: {error}. Import it '
                f"(ketch image import), or map it to a Python environment (ketch image map '{image}' --python 3.11)"
            ) from error
        raise ImageUnknown(f'image "{image}" was removed while it was pulled')

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


def _parsed(image: str) -> tuple[ImageName | None, str]:
    """The name, or what is wrong with it."""
    try:
        return ImageName.parse(image), ""
    except NameInvalid as error:
        return None, f"couldn't parse image name {error}"
