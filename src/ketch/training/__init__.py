"""Distributed training: jobs of several processes that find each other, and what is made of their ends.

Law: each generation of the API has its own room (``jobs`` for kubeflow.org/v1); kinds are declared once as types, from
which schemas and definitions follow. What should exist and what to report are pure functions; reconcilers only read,
act and write. Nothing here knows which substrate it runs on, and nothing reads a container's output to decide.
"""
