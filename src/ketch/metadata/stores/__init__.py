"""Remote object stores: S3 and what speaks it, Google Cloud Storage, Azure Blob Storage.

Law: one client library (obstore) and nothing else of it shows outside; every failure is a ``StoreError`` that names the
place. Which URI lies where is a ``Table`` of plain values, so that a program in another process can be handed the same
table; who fills it, and where credentials come from, is the caller's affair.
"""
