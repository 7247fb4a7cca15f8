"""The images of one pod: found, built or pulled, as the pod wants them."""

import base64
import binascii
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from ketch.kube.clock import Clock
from ketch.kube.types.core import Pod, Secret
from ketch.local.images.image import Image
from ketch.local.images.images import ImageError, Images
from ketch.local.images.oci.credentials import KEYS, Credentials, CredentialsInvalid, parse_config
from ketch.local.images.stored import PullPolicy, Wanted
from ketch.local.node.environment import ConfigError
from ketch.local.node.packages import wanted_alone, wanted_indexes, wanted_packages
from ketch.local.node.pods import events
from ketch.local.node.references import References

QUICK = 0.02
"""An image that was resolved in fewer seconds was there already."""


def pull_policy(pod: Pod, image: str) -> PullPolicy:
    """When the registry is asked: of several containers' policies, the one that asks most often."""
    policies = {each.image_pull_policy for each in pod.spec.every_container() if each.image == image}
    return next((policy for policy in PullPolicy if policy in policies), PullPolicy.IF_NOT_PRESENT)


def credentials_of(pod: Pod, secrets: Mapping[str, Secret | None]) -> tuple[tuple[Credentials, ...], tuple[str, ...]]:
    """What the pod's imagePullSecrets say, and what is wrong with them, each a sentence."""
    found: list[Credentials] = []
    troubles: list[str] = []
    for reference in pod.spec.image_pull_secrets:
        try:
            found += _content(secrets.get(reference.name))
        except CredentialsInvalid as error:
            troubles.append(f'Secret "{reference.name}": {error}')
    return tuple(found), tuple(troubles)


def _content(secret: Secret | None) -> Iterator[Credentials]:
    if secret is None:
        raise CredentialsInvalid("there is none in the pod's namespace")
    key = KEYS.get(secret.type)
    if key is None:
        raise CredentialsInvalid(f'it is of type "{secret.type}", and must be of {" or ".join(KEYS)}')
    try:
        data = base64.b64decode(secret.data.get(key, ""), validate=True)
    except binascii.Error as error:
        raise CredentialsInvalid(f'its "{key}" is not base64') from error
    yield from parse_config(data)


@dataclass
class PodImages:
    """What was resolved for one pod."""

    images: Images
    references: References
    clock: Clock
    tell: Callable[[events.ImagePulling | events.ImageReady | events.ImageFailed], None]
    warn: Callable[[str, str], None]
    """Is told a reason and a sentence for people."""

    _found: dict[str, Image] = field(default_factory=dict[str, Image])

    async def resolve(self, pod: Pod, name: str) -> None:
        """Have the image, and tell of it."""
        begun = self.clock.monotonic()
        try:
            image = await self._resolve(pod, name)
        except ImageError as error:
            self.tell(events.ImageFailed(name, str(error), error.reason))
            return
        except ConfigError as error:
            self.tell(events.ImageFailed(name, str(error)))
            return
        seconds = self.clock.monotonic() - begun
        self.tell(events.ImageReady(name, image.digest, seconds if seconds > QUICK else None, image.size))

    async def present(self, pod: Pod, name: str) -> Image:
        """The image, once more if it was removed since it was resolved. Raises ConfigError."""
        image = self._found[name]
        if image.root is None or image.root.present():
            return image
        try:
            return await self._resolve(pod, name)
        except ImageError as error:
            raise ConfigError(f'image "{name}" was removed: {error}') from error

    async def _resolve(self, pod: Pod, name: str) -> Image:
        annotations = pod.metadata.annotations
        image = await self.images.resolve(
            name,
            wanted_packages(annotations),
            wanted_indexes(annotations),
            wanted_alone(annotations),
            await self._wanted(pod, name),
        )
        self._found[name] = image
        return image

    async def _wanted(self, pod: Pod, name: str) -> Wanted:
        credentials: tuple[Credentials, ...] = ()
        troubles: tuple[str, ...] = ()
        if pod.spec.image_pull_secrets:
            await self.references.hold(pod)
            credentials, troubles = credentials_of(pod, self.references.around(pod, "").secrets)

        def pulling() -> None:
            if troubles:
                text = f"{'; '.join(troubles)}; attempting to pull the image may not succeed."
                self.warn("FailedToRetrieveImagePullSecret", f"Unable to retrieve some image pull secrets: {text}")
            self.tell(events.ImagePulling(name))

        return Wanted(pull_policy(pod, name), credentials, pulling)
