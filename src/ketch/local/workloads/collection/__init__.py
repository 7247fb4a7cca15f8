"""What goes by itself: objects whose owners have gone, namespaces that are being deleted, news that is old.

Law: these controllers see metadata of every served resource (``monitor``), custom ones included, and know no kind.
"""
