"""Trainer v2 (trainer.kubeflow.org/v1alpha1): a TrainJob names a runtime, and together they make a JobSet.

Law: ``runtimes`` reads what a runtime offers, each ML policy is one small module that says what processes are told,
``assembly`` puts runtime, policy, job and patches together. All of it is pure; the JobSet does the rest.
"""
