"""What a pipeline asks of Kubernetes for its steps (kfp-kubernetes): read, resolved, put into pods.

Law: pure. ``spec`` declares each message of kubernetes_executor_config.proto once; ``reading`` decodes and checks, and
says by field path what is wrong; ``resolving`` finds the values of parameters; ``settings`` turns a configuration and
those values into parts of a pod (``volumes``, ``environment``, ``placement``, ``containers``); ``applying`` puts the
parts into a pod. Nothing here knows which substrate the pod will run on.
"""
