"""What is left of KFP's REST API v1beta1: the read calls that its UI makes.

Law: a translation and nothing else. Rows are asked for through the stores of v2beta1 and told in v1's words; nothing
can be written here, and nothing else may import this package than ``application``.
"""
