"""The platform's memory: one database and one artifact store, shared by every domain.

Law: this package owns the database (connection, transactions, schema versions), the rows that describe artifacts and
their links to tasks, and the bytes of artifacts. Domains declare their own tables on ``tables.Base`` and keep their own
queries; what one domain wants to know of another's lineage it asks here. Knows no domain and no substrate. SQL that
only one database understands lives in ``database`` alone. Times are timezone-aware UTC, ids are UUID texts.
"""
