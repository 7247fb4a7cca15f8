"""Measurements: each prints a table beside a peer, in one run.

Law: nothing here is imported by Ketch or by its tests. A figure is a median (or the named percentile) of several
rounds; the peer runs in the same minute, on the same machine, through the same client code.
"""
