"""Formulas of a configuration, such as `0.2 * click + purchase * price ** 0.5`."""

import ast
import keyword
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

MAX_LENGTH = 2_000  # Characters.
MAX_DEPTH = 60  # Operations inside one another; a sum of n terms is n deep.
MAX_EXPONENT = 16.0
MAX_NUMBER = 1e30  # Far inside float32, so that a product stays finite, too.

# Names of the operations, with how many arguments each takes.
FUNCTIONS = {"abs": 1, "exp": 1, "log": 1, "log1p": 1, "sqrt": 1, "max": 2, "min": 2}
_OPERATORS: dict[type[ast.AST], str] = {
    ast.Add: "add",
    ast.Sub: "subtract",
    ast.Mult: "multiply",
    ast.Div: "divide",
    ast.Pow: "power",
    ast.USub: "negate",
}
_CONSTANT: dict[str, Callable[..., Any]] = {
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: a - b,
    "multiply": lambda a, b: a * b,
    "divide": lambda a, b: a / b,
    "power": lambda a, b: a**b,
    "negate": lambda a: -a,
    "abs": abs,
    "exp": math.exp,
    "log": math.log,
    "log1p": math.log1p,
    "sqrt": math.sqrt,
    "max": max,
    "min": min,
}
_ALLOWED = (
    "numbers, names, + - * / **, parentheses and the functions "
    f"{', '.join(sorted(FUNCTIONS))}"
)


@dataclass(frozen=True)
class Number:
    """A constant."""

    value: float


@dataclass(frozen=True)
class Name:
    """A value that is filled in when the formula is evaluated."""

    name: str


@dataclass(frozen=True)
class Operation:
    """An operation on one or two expressions.

    Attributes:
        name: A key of `FUNCTIONS`, or `add`, `subtract`, `multiply`, `divide`,
            `power`, `negate`.
        arguments: What it is applied to. The exponent of `power` is a `Number`.
    """

    name: str
    arguments: "tuple[Expression, ...]"


Expression = Number | Name | Operation


@dataclass(frozen=True)
class Formula:
    """A formula that was read.

    Attributes:
        text: As it was written.
        expression: What it says; its constant parts are computed.
        names: The names that it uses.
    """

    text: str
    expression: Expression
    names: frozenset[str]


def formula_name(text: str) -> str:
    """Returns the name by which formulas call an event type or attribute.

    Example:
        >>> formula_name("add-to-cart"), formula_name("return")
        ('add_to_cart', 'return_')
    """
    name = re.sub(r"\W", "_", text, flags=re.ASCII)
    if not name or name[0].isdigit():
        name = "_" + name
    return name + "_" if keyword.iskeyword(name) else name


def parse_formula(text: str) -> Formula:
    """Reads a formula; nothing in it is ever run as Python.

    Python's own parser gives the tree, of which only a short list of nodes is
    accepted. Parts without a name are computed here, so that a division by zero
    or an overflow among constants is found now.

    Args:
        text: At most 2,000 characters.

    Returns:
        The formula. Which names are known is for the caller to check.

    Raises:
        ValueError: If it is no formula; says which part, and what is allowed.

    Example:
        >>> formula = parse_formula("click * bid + 2 * 3")
        >>> sorted(formula.names)
        ['bid', 'click']
        >>> evaluate(formula.expression, {"click": 0.5, "bid": 4.0}, _CONSTANT)
        8.0
    """
    if len(text) > MAX_LENGTH:
        raise ValueError(
            f"A formula must have at most {MAX_LENGTH:,} characters. "
            f"Received: {len(text):,}. Shorten it."
        )
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        raise ValueError(
            f"A formula must consist of {_ALLOWED}. Received: {text!r}, which cannot "
            f"be read ({error})."
        ) from error
    names: set[str] = set()
    try:
        expression = _convert(tree.body, names, 0)
    except ValueError as error:
        raise ValueError(f"{error} Received: {text!r}.") from error
    if not names:
        raise ValueError(
            "A formula must use at least one name, else all items are equal. "
            f"Received: {text!r}. Name a head, such as `purchase`."
        )
    return Formula(text, expression, frozenset(names))


def evaluate(
    expression: Expression,
    values: Mapping[str, Any],
    operations: Mapping[str, Callable[..., Any]],
) -> Any:
    """Computes an expression on numbers, arrays or tensors.

    Args:
        expression: `Formula.expression`.
        values: By name.
        operations: What does each operation, by the name that `Operation` has.
    """
    if isinstance(expression, Number):
        return expression.value
    if isinstance(expression, Name):
        return values[expression.name]
    arguments = [evaluate(a, values, operations) for a in expression.arguments]
    return operations[expression.name](*arguments)


def _convert(node: ast.expr, names: set[str], depth: int) -> Expression:
    if depth > MAX_DEPTH:
        raise ValueError(f"A formula must be nested at most {MAX_DEPTH} deep.")
    if isinstance(node, ast.Constant):
        return _number(node.value)
    if isinstance(node, ast.Name):
        names.add(node.id)
        return Name(node.id)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.UAdd):
        return _convert(node.operand, names, depth + 1)
    operation, operands = _operation(node)
    arguments = tuple(_convert(o, names, depth + 1) for o in operands)
    return _simplify(Operation(operation, arguments))


def _operation(node: ast.expr) -> tuple[str, list[ast.expr]]:
    """Returns the name and the operands of a node that is an operation."""
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        return _OPERATORS[type(node.op)], [node.left, node.right]
    if isinstance(node, ast.UnaryOp) and type(node.op) in _OPERATORS:
        return _OPERATORS[type(node.op)], [node.operand]
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        name = node.func.id
        if name in FUNCTIONS and not node.keywords:
            if len(node.args) != FUNCTIONS[name]:
                raise ValueError(
                    f"`{name}` in a formula must have {FUNCTIONS[name]} argument(s); "
                    f"it has {len(node.args)}."
                )
            return name, node.args
    raise ValueError(
        f"A formula must consist of {_ALLOWED}; `{ast.unparse(node)[:60]}` is none "
        "of these."
    )


def _number(value: object) -> Number:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(
            f"A formula must consist of {_ALLOWED}; {value!r} is no number."
        )
    if not abs(value) <= MAX_NUMBER:
        raise ValueError(f"A number in a formula must be at most {MAX_NUMBER:g}.")
    return Number(float(value))


def _simplify(operation: Operation) -> Expression:
    """Computes an operation on numbers alone, and checks the numbers of others."""
    name, arguments = operation.name, operation.arguments
    last = arguments[-1]
    if name == "power" and not (
        isinstance(last, Number) and abs(last.value) <= MAX_EXPONENT
    ):
        raise ValueError(
            "An exponent in a formula must be a number from "
            f"{-MAX_EXPONENT:g} to {MAX_EXPONENT:g}."
        )
    if name == "divide" and last == Number(0.0):
        raise ValueError("A formula must not divide by zero.")
    numbers = [a.value for a in arguments if isinstance(a, Number)]
    if len(numbers) < len(arguments):
        return operation
    try:
        return _number(_CONSTANT[name](*numbers))
    except (ArithmeticError, ValueError, TypeError) as error:
        shown = ", ".join(f"{number:g}" for number in numbers)
        raise ValueError(
            f"The constant part {name}({shown}) of a formula must be a finite number "
            f"({error})."
        ) from error
