"""CronJobs: a Job again and again, by the clock.

Law: ``timing`` says which time is due and when the next is (pure); the reconciler makes the Job of that time,
whose name follows from the time, so that whatever is killed, none is made twice.
"""
