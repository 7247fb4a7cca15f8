"""HorizontalPodAutoscalers: a workload as large as its pods' use asks for.

Law: ``proposals`` reckons from pods and their use how many there should be, ``behavior`` how fast that may come about;
both are pure. The reconciler reads the metrics and writes the scale.
"""
