"""The pipeline specification (IR 2.1.0): its types, its rules, its expressions.

Law: pure. Reads what the SDK's compiler wrote and says by field path what is wrong with it; knows neither rows nor
pods. ``spec`` declares each message once, ``reading`` decodes and checks, ``platform`` reads the second document,
``expressions`` evaluates conditions and selectors (in ``cel``), ``support`` names what nothing here can run.
"""
