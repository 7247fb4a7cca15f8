"""What the run reconciler is made of: a run in memory, what steps leave behind, and what it keeps in the cluster.

Law: everything made in the world has a name that follows from the run or the task, so that making it twice makes one,
and carries the run's label, so that it is found and removed with the run. Nothing here decides: the engine does.
"""
