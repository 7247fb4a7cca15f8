"""A pod's volumes: what each is on this machine's disk, and how its content comes there.

Law: ``payload`` is pure: objects in, files out. ``directory`` puts files in place so that readers see all of the old or
all of the new. ``places`` decides where a volume stands and what a pod may never reach; ``manager`` joins them for the
agent and keeps what can change up to date.
"""
