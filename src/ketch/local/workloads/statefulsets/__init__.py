"""StatefulSets: numbered pods, each with a name, a host name and claims that stay with its number.

Law: ``identities`` says what the pod of a number is, ``retention`` whose its claims are, ``steps`` what to do next;
all three are pure. The reconciler carries one step out and reports.
"""
