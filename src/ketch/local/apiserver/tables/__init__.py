"""Objects as rows for people: metav1.Table, with the columns that kubectl's users know.

Law: pure functions over stored JSON and a time. Built-in kinds' columns stand here, one module per area; custom
resources bring their own (JSONPath).
"""
