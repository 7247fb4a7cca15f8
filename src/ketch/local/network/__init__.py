"""The network of pods on one machine: namespaces, addresses, Services' addresses, names, and the way outside.

Law: knows addresses, sockets and namespaces; knows no Kubernetes object (the node agent tells it tables). One daemon
owns it all; everybody else speaks to the daemon through ``client``. What must outlive the daemon (the cluster's
namespace, the pods' namespaces, listening sockets) is kept by the holder, a process that does nothing else.
Kernel messages are written by hand (``netlink``, ``links``, ``nftables``, ``flows``): small modules that load in
milliseconds, because the whole platform waits for this daemon when it starts.
"""
