"""MPIJobs: a launcher that runs ``mpirun``, and workers in which it starts processes.

Law: one resource has jobs of two shapes, which ``spec.mpiImplementation`` tells apart. Without it (kubeflow.org/v1, the
Training Operator's) the launcher reaches workers through the API's exec; with it (v2beta1, whose schema fills it in,
mpi-operator's) through ssh, and the launcher is a batch Job. All of it is pure but the reconciler.
"""
