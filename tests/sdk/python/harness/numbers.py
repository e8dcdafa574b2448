"""Single-precision arithmetic helpers and the naive reference for filters and distances."""

import math
import struct


def f32(value: float) -> float:
    """The nearest single-precision number, as a Python float."""
    return struct.unpack("<f", struct.pack("<f", value))[0]


def bits(values) -> bytes:
    """The single-precision bytes of numbers: equal bytes mean bit-exact equality (also of -0.0)."""
    return struct.pack(f"<{len(values)}f", *values)


def euclidean(a, b) -> float:
    return math.sqrt(sum((f32(x) - f32(y)) ** 2 for x, y in zip(a, b, strict=True)))


def cosine(a, b) -> float:
    a, b = [f32(x) for x in a], [f32(y) for y in b]
    return 1.0 - sum(x * y for x, y in zip(a, b, strict=True)) / (math.hypot(*a) * math.hypot(*b))


def _kind(value):
    if isinstance(value, bool):
        return "bool"
    return "number" if isinstance(value, (int, float)) else "string"


def _equal(a, b) -> bool:
    return _kind(a) == _kind(b) and a == b


def _any(value, test) -> bool:
    return any(test(v) for v in (value if isinstance(value, list) else [value]))


def _compare(value, operand, test) -> bool:
    return _any(value, lambda v: _kind(v) == "number" and test(v, operand))


_MISSING = object()


def _holds(value, operator, operand) -> bool:
    """One operator on one value; `_MISSING` stands for an absent key."""
    if operator == "$exists":
        return (value is not _MISSING) == operand
    if operator == "$ne":
        return value is _MISSING or not _holds(value, "$eq", operand)
    if operator == "$nin":
        return value is _MISSING or not _holds(value, "$in", operand)
    if value is _MISSING:
        return False
    if operator == "$eq":
        return _any(value, lambda v: _equal(v, operand))
    if operator == "$in":
        return any(_holds(value, "$eq", one) for one in operand)
    compare = {
        "$gt": lambda a, b: a > b,
        "$gte": lambda a, b: a >= b,
        "$lt": lambda a, b: a < b,
        "$lte": lambda a, b: a <= b,
    }
    return _compare(value, operand, compare[operator])


def matches(filter_, metadata) -> bool:
    """Whether metadata satisfies a filter of the standard grammar. Several keys or operators mean AND."""
    for key, condition in filter_.items():
        if key == "$and":
            ok = all(matches(f, metadata) for f in condition)
        elif key == "$or":
            ok = any(matches(f, metadata) for f in condition)
        else:
            operators = condition if isinstance(condition, dict) else {"$eq": condition}
            value = metadata.get(key, _MISSING)
            ok = all(_holds(value, op, operand) for op, operand in operators.items())
        if not ok:
            return False
    return True
