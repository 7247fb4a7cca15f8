"""What may be done with objects: get, list, watch, create, update, patch, delete.

Law: between reading the newest state and staging a write nothing waits unless the gate says that others are asked; a
write is answered when it is on disk. What is decided about an object comes from schemas, strategies and patches.
"""
