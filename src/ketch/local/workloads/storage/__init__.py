"""Volumes, claims, and which claim has which volume.

Law: a binding is decided in pure functions (``binding``) and written on the volume before it is written on the claim,
so that two claims never share one.
"""
