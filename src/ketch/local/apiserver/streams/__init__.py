"""What others than the store answer: nodes and what runs on them, by their own sockets.

Law: the server says who may and finds the way; the other side speaks the protocol, and bytes are passed on unread.
"""
