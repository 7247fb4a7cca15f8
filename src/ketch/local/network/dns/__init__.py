"""Names for pods: a small name server for the cluster's domain, and the host's resolver for everything else.

Law: ``message`` is the wire format and ``zone`` the table of names, both pure; ``server`` owns the sockets.
"""
