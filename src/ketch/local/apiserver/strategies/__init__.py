"""What is special about some kinds: how they are prepared, checked and deleted.

Law: a strategy is pure but for what its ``Context`` offers; it may change the fresh object it is given and nothing
else. Kinds without a strategy get the ordinary one.
"""
