"""The run engine: a pure state machine over one run's tasks.

Law: facts in, orders out. ``Machine.handle`` takes an event (a step ended, the run is to stop) and returns what is to
be done, as data; it knows no database, no pods, no clock, and does no I/O. Everything it remembers can be rebuilt from
the run's task rows. The work for an event is proportional to what the event changes.
"""
