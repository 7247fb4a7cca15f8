"""What a pipeline asks of Kubernetes for its steps (kfp-kubernetes): read, resolved, put into pods.

Law: pure. ``spec`` declares each message of kubernetes_executor_config.proto once; ``reading`` decodes and checks, and
says by field path what is wrong; ``settings`` turns a configuration and the values of its parameters into parts of a
pod (``volumes``, ``environment``, ``placement``); ``applying`` puts the parts into a pod, ``amending`` does all of it
for a step. Nothing here knows which substrate the pod will run on.
"""
