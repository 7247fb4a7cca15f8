"""What others say of a write before it happens: webhooks and policies that users registered, budgets of namespaces.

Law: nothing here stores anything but the status of budgets. Handlers ask ``Chain`` with an ``Asked``; where nothing is
registered the answer costs one look. Webhooks may change an object, everything else only admits or refuses it.
"""
