"""Logs of steps: live from the pod, and from the object store when the pod is gone.

Law: a step's pod cannot go before its log is in the store: it carries a finalizer, which the archiver takes away when
that is done. Nothing of this is on a step's way: logs are put away when somebody deletes the pod, and else in quiet
moments after it has ended. Read through ``ketch.kube`` like any client's, bounded in size and memory.
"""
