"""Reading built-in objects that clients send as protobuf, as kubectl does.

Law: bytes to JSON, nothing else; answers are JSON, which every such client also takes. ``fields.json`` is made by
``scripts/extract_wire_fields.py``; it is read when the first such body comes.
"""
