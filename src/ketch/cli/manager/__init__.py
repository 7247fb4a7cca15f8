"""``ketch manager``: the controllers and APIs of all domains, for any API server.

Law: one process is one replica. All replicas answer webhooks; the one that leads runs controllers and serves everything
else, and a replica that does not is not ready.
"""
