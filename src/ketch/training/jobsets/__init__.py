"""JobSet (jobset.x-k8s.io/v1alpha2): groups of Jobs that start, succeed and fail together.

Law: what Jobs should exist, in which order, and what their ends mean are pure functions of the JobSet and its Jobs;
pods belong to the Jobs and are never touched here.
"""
