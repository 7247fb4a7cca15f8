"""Nodes' life, and what becomes of pods whose node is silent, tainted or gone.

Law: a silent node is Unknown before any of its pods goes; a pod goes only by a taint it does not tolerate, or because
nothing will ever end it.
"""
