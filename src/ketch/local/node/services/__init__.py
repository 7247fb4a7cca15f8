"""What the node tells the network of Services, names and NetworkPolicies, and where node ports are reached.

Law: what is told is made by pure functions (``tables``, ``entries``, ``wanted``) from what informers hold; one
mechanism (``telling``) sends it after changes, and again where the network daemon did not take it.
"""
