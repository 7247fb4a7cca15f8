"""KFP's REST API v2beta1, and what is left of v1beta1: one room per service, thin.

Law: a handler is given a message, asks a store or a pure function, and answers a message. Messages are declared once,
in the ``messages`` modules; marshalling (grpc-gateway's) is ``wire``'s alone, errors' wire form ``http``'s. Routes
are ``http.Operation``s that say what they take and answer; OpenAPI is made from nothing else. No handler touches a
session, no store knows a message.
"""
