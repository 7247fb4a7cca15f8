"""Live connections into pods: commands (exec), running containers' streams (attach), ports (port-forward).

Law: whatever a client does, or does not do, harms nobody but its own session. A session holds a bounded number of
bytes; it ends with its command, or some time after its client, and leaves no process and no descriptor behind.
``channels`` and ``spdy`` are what clients speak; the rest does not know which of them it is.
"""
