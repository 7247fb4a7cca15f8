"""The built-in kinds that controllers, scheduler and node agent touch, each declared once as a frozen struct.

Law: a module per API group, values only (no client, no clock). What is not declared here is kept in
``unknown_fields`` and passes through unharmed, so a kind lists what somebody reads or writes and no more. Go pointers,
where "absent" differs from zero, are ``X | None``; quantities are text (see ``ketch.kube.quantities``).
"""
