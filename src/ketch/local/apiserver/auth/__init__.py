"""Who asks, and whether they may.

Law: authentication turns credentials into a ``UserInfo``; authorization answers from memory what RBAC objects in the
store say. Neither knows HTTP. Keys and certificates are made once per data directory.
"""
