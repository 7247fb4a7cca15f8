"""Pipelines, versions, experiments, runs and tasks in the platform database.

Law: ``tables`` says what a row is and who writes which column; every other module is queries and transactions of one
kind of row, and knows neither HTTP nor pods. Lists go by keyset pages (``listing``); what one decision of the engine
changes is one transaction (``ledger``).
"""
