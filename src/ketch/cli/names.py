"""Names that the supervisor and its programs have for the same things. Imports nothing: all of them start with it."""

KUBERNETES_SOCKETS = ("kubernetes", "kubernetes6")
PLATFORM_SOCKET = "platform"
NODE_SOCKET = "node"
NODE_NAME = "local"
