"""What a replica is told. Names of objects that all replicas share are declared here."""

from dataclasses import dataclass
from pathlib import Path

from ketch.cli.parts import Parts

NAME = "ketch-manager"
"""Of the Lease, of the registrations of webhooks, and of the Service where nobody says otherwise."""

CERTIFICATE_SECRET = f"{NAME}-tls"
WEBHOOK_SUFFIX = "-webhook"
"""What the Service that leads to every replica is called beside the one that leads to the leader."""

PORT, SECURE_PORT, HEALTH_PORT = 8888, 9443, 8081


@dataclass(frozen=True)
class ManagerOptions:
    """``service`` leads here from inside the cluster, ``advertise`` is this machine's name where there is none.

    ``objects`` is a directory that the cluster's nodes mount; without one, artifacts are in remote stores.
    """

    namespace: str
    database: str
    leader_elect: bool = True
    bind: str = "127.0.0.1"
    port: int = PORT
    secure_port: int = SECURE_PORT
    health_port: int = HEALTH_PORT
    service: str = ""
    advertise: str = ""
    webhooks: bool = True
    objects: Path | None = None
    image: str = ""
    without: Parts = ()

    @property
    def names(self) -> tuple[str, ...]:
        """What the TLS port is called by whoever reaches it."""
        if self.advertise:
            return (self.advertise,)
        if not self.service:
            return ()
        services = (self.service, f"{self.service}{WEBHOOK_SUFFIX}")
        hosts = [f"{name}.{self.namespace}.svc" for name in services]
        return (*hosts, *(f"{host}.cluster.local" for host in hosts))

    @property
    def hosts(self) -> tuple[str, ...]:
        """What the pipelines' API is called beside this machine's own names."""
        if self.advertise:
            return (self.advertise,)
        names = (self.service, "ml-pipeline") if self.service else ()
        forms = ("", f".{self.namespace}", f".{self.namespace}.svc", f".{self.namespace}.svc.cluster.local")
        return tuple(f"{name}{form}" for name in names for form in forms)
