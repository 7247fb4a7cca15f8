"""OCI images: imported or pulled, kept as unpacked layers by content, seen by containers through an overlay.

Law: whatever an image says is a stranger's word: names, paths and digests are checked before they touch the disk, and
nothing stands under its final name before it is whole. ``store`` alone changes what is kept, under its locks; everyone
may read at any time. ``puller`` runs in a process of its own, so that unpacking holds nobody up.
"""
