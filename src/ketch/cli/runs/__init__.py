"""Runs on the command line: followed, listed, shown, changed.

Law: ``api`` alone talks to the platform, by KFP's REST API as any client does; ``steps`` understands what it answers;
``tree`` and ``table`` turn that into text and know neither terminal nor network. Nothing here is imported before a
command needs it.
"""
