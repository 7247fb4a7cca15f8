"""Budgets of namespaces: ResourceQuotas.

Law: ``charges`` is pure and says what an object costs; ``ledger`` keeps the sums of the namespaces that have quotas,
so that no two writes can spend the same; namespaces without quotas cost one look. Usage is written back as the
quotas' status, a moment later.
"""
