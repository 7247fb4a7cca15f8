"""What goes by itself: pods that have ended, a run's resources when their time is up, runs when theirs is.

Law: rows and artifacts outlive pods; only runs that the operator gave a time are ever deleted, and only archived ones.
Nothing goes that the engine still has to read, and a pod's log is kept before the pod goes (``ketch.pipelines.logs``).
"""
