"""A machine that runs short of disk, memory or process numbers: the node says so, takes no more pods, and makes room.

Law: what nobody uses goes first, then one pod at a time, whoever takes most beyond what it asked for; the rest live on.
"""
