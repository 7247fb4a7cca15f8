"""``ketch runs debug``: a shell where a step of a pipeline ran.

Law: the step itself is never touched. ``cloning`` (pure) makes a pod like the step's with an idle process in it and
its outputs elsewhere; ``terminal`` joins the user's terminal to a command in it; ``command`` puts both together and
takes the pod away again.
"""
