"""What a node needs to belong to an API server on another machine: a door with TLS, a way back.

Law: a node of the platform on the same data directory has none of this: there, sockets of the data directory do it.
"""
