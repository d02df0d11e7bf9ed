"""Expressions that pick fibres by their metadata, such as ``program in ['mwm_disk'] and h < 12.8``.

Names: ``program`` (also ``carton``), ``h``, ``fibre``, ``star``, ``role``. Operators: comparisons, ``in``, ``and``,
``or``, ``not``. Logic is three-valued: a comparison with something unknown is unknown, and unknown never selects.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping

Metadata = Mapping[str, object]
NAMES = ("program", "carton", "h", "fibre", "star", "role")
COMPARISONS: dict[type[ast.cmpop], Callable[[object, object], bool]] = {
    ast.Lt: operator.lt,  # type: ignore[dict-item]
    ast.LtE: operator.le,  # type: ignore[dict-item]
    ast.Gt: operator.gt,  # type: ignore[dict-item]
    ast.GtE: operator.ge,  # type: ignore[dict-item]
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.In: lambda left, right: left in right,  # type: ignore[operator]
    ast.NotIn: lambda left, right: left not in right,  # type: ignore[operator]
}


class SelectionError(ValueError):
    """An expression that cannot be used; the message names the part that is wrong."""


def selector(expression: str) -> Callable[[Metadata], bool]:
    """Compile an expression to a predicate over fibre metadata.

    Raises:
        SelectionError: When the expression is no such expression; nothing is ever executed.
    """
    try:
        tree = ast.parse(expression.strip(), mode="eval").body
    except SyntaxError as error:
        raise SelectionError(f"{expression!r} is not an expression: {error.msg}") from None
    _check(tree, expression)
    return lambda metadata: _value(tree, metadata) is True


def _check(node: ast.AST, expression: str) -> None:
    allowed: tuple[type[ast.AST], ...] = (
        ast.BoolOp,
        ast.UnaryOp,
        ast.Compare,
        ast.Name,
        ast.Constant,
        ast.List,
        ast.Tuple,
    )
    if not isinstance(node, allowed):
        part = ast.unparse(node)
        raise SelectionError(
            f"{part!r} in {expression!r} is not allowed; use names, numbers, text, lists and comparisons"
        )
    if isinstance(node, ast.Name) and node.id not in (*NAMES, "true", "false"):
        raise SelectionError(f"{node.id!r} in {expression!r} is unknown; names are {', '.join(NAMES)}")
    if isinstance(node, ast.UnaryOp) and not isinstance(node.op, ast.Not | ast.USub):
        raise SelectionError(f"{ast.unparse(node)!r} in {expression!r} is not allowed")
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.cmpop) and type(child) not in COMPARISONS:
            raise SelectionError(f"'is' in {expression!r} is not allowed; use == or !=")
        if isinstance(child, ast.expr):
            _check(child, expression)


def _value(node: ast.AST, metadata: Metadata) -> object:
    match node:
        case ast.Constant(value=value):
            return value
        case ast.Name(id="true"):
            return True
        case ast.Name(id="false"):
            return False
        case ast.Name(id=name):
            return metadata.get("program" if name == "carton" else name)
        case ast.List(elts=items) | ast.Tuple(elts=items):
            return [_value(item, metadata) for item in items]
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            number = _value(operand, metadata)
            return -number if isinstance(number, int | float) else None
        case ast.UnaryOp(operand=operand):
            truth = _value(operand, metadata)
            return None if truth is None else not truth
        case ast.BoolOp(op=op, values=values):
            decisive = isinstance(op, ast.Or)  # one true decides an or, one false an and
            truths = [_value(value, metadata) for value in values]
            if decisive in truths:
                return decisive
            return None if None in truths else not decisive
        case ast.Compare(left=left, ops=ops, comparators=comparators):
            terms = [_value(left, metadata), *(_value(term, metadata) for term in comparators)]
            if None in terms:
                return None
            return all(_holds(op, a, b) for op, a, b in zip(ops, terms[:-1], terms[1:], strict=True))
    raise AssertionError(f"unchecked node {ast.dump(node)}")


def _holds(op: ast.cmpop, left: object, right: object) -> bool:
    try:
        return bool(COMPARISONS[type(op)](left, right))
    except TypeError:
        return False
