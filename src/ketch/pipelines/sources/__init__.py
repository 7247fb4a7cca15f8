"""Where specifications come from: uploaded files, archives, addresses.

Law: what is read here is a stranger's. Every size, depth, number and time is bounded, nothing is read from where the
caller may not look, and what takes long is read by a process of its own. Raises InvalidInput alone; what comes out are
plain JSON values, which ``specifications`` checks.
"""
