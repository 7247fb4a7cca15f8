"""What users define: resources that come and go, and objects of several versions.

Law: definitions in the store say what is served; the registry follows within the turn of their write.
"""
