"""Initializers: bring a TrainJob's dataset or model to the volume that its trainer reads.

Law: a program of its own, told everything by its environment (upstream's names), that knows no Kubernetes. ``sources``
says for each scheme how its content comes here; what cannot be had ends the program with one sentence that says why.
"""
