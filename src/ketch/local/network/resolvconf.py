"""What a pod reads in ``/etc/resolv.conf``."""

from ketch.local.network.addresses import CLUSTER_DOMAIN, DNS_ADDRESS


def resolv_conf(namespace: str) -> str:
    """The file's text for a pod of ``namespace``: the cluster's name server and search domains, as kubelet does."""
    search = f"{namespace}.svc.{CLUSTER_DOMAIN} svc.{CLUSTER_DOMAIN} {CLUSTER_DOMAIN}"
    return f"nameserver {DNS_ADDRESS}\nsearch {search}\noptions ndots:5\n"
