"""What the Makefile calls: set-up, the demo, generated documentation.

Law: standard library and what Ketch itself installs; nothing here is part of the product.
"""
