"""The pure core of the node agent: one state machine per pod.

Law: no clock, no loop, no file, no socket. ``events`` go in with the time at which they happened, ``orders`` come out
as data, and the pod's status follows from the facts gathered so far. Orders are decided anew from those facts after
each event, so that a lost or repeated event can only delay something, never do it twice.
"""
