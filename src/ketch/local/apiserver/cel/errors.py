"""What can be wrong with an expression.

::

    CELError
    ├── CompilationError   the text cannot be read, or does not fit the declared types
    └── EvaluationError    it cannot be evaluated with these values
        └── BudgetError    it takes too many steps; nothing absorbs this one
"""


class CELError(ValueError):
    """Something is wrong with an expression."""


class CompilationError(CELError):
    """The expression cannot be used at all; the message points at the place."""

    def __init__(self, text: str, position: int, why: str) -> None:
        line = text.count("\n", 0, position) + 1
        begin = text.rfind("\n", 0, position) + 1
        column = position - begin
        shown = text[begin:].partition("\n")[0]
        super().__init__(f"ERROR: <input>:{line}:{column + 1}: {why}\n | {shown}\n | {'.' * column}^")


class EvaluationError(CELError):
    """The expression has no value here."""


class BudgetError(EvaluationError):
    """The evaluation took more steps than it may."""
