"""The node agent: turns the Pods bound to this node into sandboxed processes, and tells the API what became of them.

Law: reaches the API over HTTP like any kubelet and knows no other part of the embedded cluster but the machinery below
it (sandbox, images, network). What to do about a pod is decided in ``pods``, a pure state machine: events in, orders
out. Everything else executes orders and feeds back what happened. Containers outlive the agent: all that it has to
know again after a restart stands in the pod's directory, and a container is known by (pod uid, name, attempt).
"""
