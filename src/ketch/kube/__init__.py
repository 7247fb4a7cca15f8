"""The contract: the Kubernetes API as every controller sees it.

Law: typed objects, the client and its transports, patches, selectors, quantities, conditions, informers, work queue,
controllers and their manager. Everything here could be extracted as a library: it knows no domain (pipelines,
training, ...) and no substrate (embedded or cluster). Objects are frozen values that keep fields they do not know.
Errors are Kubernetes Status answers and have names; nobody compares HTTP numbers. Time comes from a Clock.
"""
