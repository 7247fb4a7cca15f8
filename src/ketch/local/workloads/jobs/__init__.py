"""Jobs: pods run until enough have succeeded or too many have failed.

Law: what a Job's pods come to is decided in pure functions (``counting``, ``failures``, ``perindex``, ``successes``)
in which no pod is lost or counted twice; the reconciler carries it out.
"""
