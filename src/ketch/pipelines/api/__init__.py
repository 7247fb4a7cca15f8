"""KFP's REST API v2beta1: one room per service, thin.

Law: a handler decodes a message, asks a store or a pure function, and encodes a message. Messages are declared once,
in ``messages`` and ``lineage_messages``; their marshalling (grpc-gateway's) is ``wire``'s alone, errors' wire form
``http``'s. No handler touches a session, no store knows a message.
"""
