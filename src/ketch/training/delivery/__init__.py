"""What the image ``kubectl-delivery`` is here: it gives an MPIJob's launcher a ``kubectl`` that can do ``exec``.

Law: ``kubectl`` is a file that is copied; it runs under the Python of whatever image the launcher has, so it imports
the standard library alone. The program itself uses it to wait for the workers.
"""
