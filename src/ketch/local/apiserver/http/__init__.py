"""The network's door to the handlers: HTTP/1.1 over TLS on TCP and unix sockets.

Law: bytes to ``Call`` and ``Answer`` to bytes, who sends it, and who may not even ask (foreign origins and hosts).
Written on httptools and asyncio's protocols without a framework between: the budget per request is some 100 µs.
"""
