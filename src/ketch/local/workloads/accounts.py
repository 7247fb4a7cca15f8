"""Each namespace has a ServiceAccount ``default`` and, in ``kube-root-ca.crt``, the certificate to trust."""

from ketch.kube.controller import Result
from ketch.kube.errors import AlreadyExists, Forbidden, NotFound
from ketch.kube.manager import For, Manager, Maps
from ketch.kube.meta import KubeObject, ObjectKey, ObjectMeta
from ketch.kube.types.core import ConfigMap, Namespace, ServiceAccount

MANAGER = "serviceaccount-controller"
DEFAULT_ACCOUNT = "default"
ROOT_CERTIFICATE = "kube-root-ca.crt"
CERTIFICATE_KEY = "ca.crt"
DESCRIPTION = {
    "kubernetes.io/description": "Contains a CA bundle that can be used to verify the kube-apiserver when using "
    "internal endpoints such as the internal service IP or kubernetes.default.svc."
}


def root_certificate(namespace: str, certificate: str) -> ConfigMap:
    """The ConfigMap that pods' token volumes project."""
    meta = ObjectMeta(name=ROOT_CERTIFICATE, namespace=namespace, annotations=DESCRIPTION)
    return ConfigMap(metadata=meta, data={CERTIFICATE_KEY: certificate})


class AccountsReconciler:
    """Completes namespaces. Without a certificate it makes accounts alone."""

    def __init__(self, manager: Manager, certificate: str) -> None:
        self._client = manager.client
        self._certificate = certificate
        self._namespaces = manager.informer(Namespace)
        self._accounts = manager.informer(ServiceAccount)
        self._maps = manager.informer(ConfigMap)

    async def reconcile(self, key: ObjectKey) -> Result:
        """One pass over a namespace."""
        namespace = self._namespaces.get(key)
        if namespace is None or namespace.metadata.deletion_timestamp is not None:
            return Result()
        try:
            await self._complete(key.name)
        except (AlreadyExists, Forbidden, NotFound):
            return Result()  # made meanwhile, or the namespace is going
        return Result()

    async def _complete(self, namespace: str) -> None:
        if self._accounts.get(ObjectKey(namespace, DEFAULT_ACCOUNT)) is None:
            meta = ObjectMeta(name=DEFAULT_ACCOUNT, namespace=namespace)
            await self._client.create(ServiceAccount(metadata=meta), manager=MANAGER)
        if not self._certificate:
            return
        wanted = root_certificate(namespace, self._certificate)
        held = self._maps.get(ObjectKey(namespace, ROOT_CERTIFICATE))
        if held is None or held.data != wanted.data:
            await self._client.apply(wanted, manager=MANAGER)


def _namespace_if(name: str, obj: KubeObject) -> list[ObjectKey]:
    return [ObjectKey("", obj.metadata.namespace)] if obj.metadata.name == name else []


def setup(manager: Manager, certificate: str) -> None:
    """Run the controller; ``certificate`` is the API server's authority as PEM text, empty for none."""
    manager.controller(
        "accounts",
        AccountsReconciler(manager, certificate),
        For(manager.informer(Namespace)),
        Maps(manager.informer(ServiceAccount), lambda account: _namespace_if(DEFAULT_ACCOUNT, account)),
        Maps(manager.informer(ConfigMap), lambda found: _namespace_if(ROOT_CERTIFICATE, found)),
    )
