"""The audit log: who asked for what, when, and what came of it, as far as a policy wants to know.

Law: ``policy`` is pure and says how closely a call is looked at; ``log`` writes events of audit.k8s.io/v1, one JSON
document a line. Without a policy nothing of this is loaded, and a call costs one look.
"""
