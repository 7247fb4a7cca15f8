"""Checkpoints: where a job's processes keep them, so that a job that failed, was resized or resumed goes on from there.

Law: annotations on the job say what is wanted, for every kind of both generations; a claim, a mount and variables
follow from them. All of it is pure. Which checkpoint is the last is asked in the container (``training.client``).
"""
