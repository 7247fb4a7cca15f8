"""Training Operator v1 (kubeflow.org/v1): six kinds over one framework.

Law: ``framework`` says what a kind is, ``kinds`` has one small class for each; everything else (``desired``,
``status``, ``reconciler``) is written once for all of them and knows no kind by name.
"""
