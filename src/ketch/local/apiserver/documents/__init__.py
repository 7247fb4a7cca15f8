"""What the server tells of itself: discovery, OpenAPI.

Law: documents are made from the registry when somebody asks, and kept until it changes. Nothing here reads objects.
"""
