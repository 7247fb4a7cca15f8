"""Recurring runs: when the next run of a schedule is due, and making it.

Law: ``triggers`` and ``requests`` are pure; the store alone touches rows, and the row of a run
is written in the transaction that counts it, so that whatever is killed, no run is made twice and none is forgotten.
"""
