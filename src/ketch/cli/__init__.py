"""The ``ketch`` command, and the only place that composes everything: which programs make a platform, which
controllers run in them.

Law: one module per command; a command parses, calls, prints and chooses an exit code, nothing more. Exit codes: 0 done,
1 the outcome is a failure, 2 wrong usage or input, 3 the platform cannot be reached or started. Heavy imports are
deferred into the commands that need them.
"""
