"""``ketch image``: what image names mean on this machine. Works on the data directory, with the platform up or down.

Law: says what was done and how much it was; refuses, with exit code 1, what would take an image from under containers.
"""
