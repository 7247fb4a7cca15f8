"""One module per revision, named by its number.

Law: only Alembic's operations; a revision that shipped is not edited.
"""
