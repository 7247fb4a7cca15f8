"""``ketch run``: a file becomes a pipeline, typed texts become its parameters, and both become a run.

Law: the user's module runs in a process of its own (``compiler``), never in this one. Bad input ends the command with 2
before anything is submitted, in a sentence that names the file or the parameter.
"""
