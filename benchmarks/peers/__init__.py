"""Who is measured beside Ketch: tools that run such steps on one machine, each as its users install it.

Law: a peer lives in an environment of its own with a pinned version, keeps its files in the benchmark's folder, is told
to send nothing home, and is over, with all that it started, when its figure is there.
"""
