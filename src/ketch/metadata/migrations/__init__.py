"""The schema's history: one Alembic revision per change, applied when an older database is opened.

Law: revisions are written out in full and never import today's tables, which will have moved on. A new database is made
from the tables themselves; a test holds both ways against each other. Nothing here is imported unless it is needed.
"""
