"""How far training is: what processes tell of themselves, what they use, and where both are written.

Law: the wire form is that of Trainer's status endpoint, so upstream's SDK and callbacks work unchanged; what Ketch adds
(``rank``) is a field beside it that upstream ignores. Everything ends in the job's status, written by one recorder.
"""
