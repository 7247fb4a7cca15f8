"""The pods' way outside: an HTTP proxy that lives in the host's network and listens in the cluster's.

Law: nothing here lets a pod reach the machine itself. ``destinations`` decides where a connection may go, before one
is opened; ``upstream`` knows the proxy that the host itself has to use; ``proxy`` moves the bytes.
"""
