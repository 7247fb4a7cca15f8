"""Training on the command line: a script or function becomes a TrainJob; jobs of both generations are followed.

Law: ``packaging`` reads what the user names and runs none of it; ``jobs`` and ``trainjob`` are pure, on the API's JSON;
``following`` alone talks to a cluster while a job runs. Everything goes through the Kubernetes API, so that it works
against any cluster these kinds are on.
"""
