"""Numbers of which print shows a rounding, and what may be said of sums, quotients and means of such numbers."""

import operator
from collections.abc import Callable
from dataclasses import dataclass, field

import pandas as pd


@dataclass(frozen=True, order=True)
class Rounded:
    """A number and the range it lies in, by interval arithmetic; numbers compare by what is printed.

    The range of a result is the narrowest if each number stands in its formula once, or always with one sign, as cells
    do here. A divisor's range must be above 0.
    """

    value: float
    low: float = field(compare=False)
    high: float = field(compare=False)

    @classmethod
    def read(cls, text: str) -> "Rounded":
        """A number as it is printed, such as "22.90": what was rounded to it is within half a unit of its last decimal.

        Raises:
            ValueError: it is no number.
        """
        value, half = float(text), 0.5 * 10.0 ** -len(text.partition(".")[2])
        return cls(value, value - half, value + half)

    @classmethod
    def of(cls, number: "float | Rounded") -> "Rounded":
        """The number itself, or an exact one."""
        return number if isinstance(number, Rounded) else cls(number, number, number)

    def meets(self, other: "Rounded") -> bool:
        """Whether one number can lie in both ranges; their ends are in them, whatever binary fractions lose."""
        return self.low <= other.high + 1e-9 and other.low <= self.high + 1e-9

    def shown(self, decimals: int) -> str:
        """The number with its range; an exact one alone, a count without decimals."""
        if isinstance(self.value, int):
            return str(self.value)
        ends = f" ({self.low:.{decimals}f} to {self.high:.{decimals}f})" if self.low < self.high else ""
        return f"{self.value:.{decimals}f}{ends}"

    def __add__(self, other: "float | Rounded") -> "Rounded":
        return _corners(operator.add, self, other)

    def __sub__(self, other: "float | Rounded") -> "Rounded":
        return _corners(operator.sub, self, other)

    def __rsub__(self, other: float) -> "Rounded":
        return _corners(operator.sub, other, self)

    def __mul__(self, other: "float | Rounded") -> "Rounded":
        return _corners(operator.mul, self, other)

    def __truediv__(self, other: "float | Rounded") -> "Rounded":
        return _corners(operator.truediv, self, other)

    __radd__, __rmul__ = __add__, __mul__


def _corners(op: Callable[[float, float], float], left: float | Rounded, right: float | Rounded) -> Rounded:
    """Each of the four operations is monotone in either number, so that its range ends where theirs do."""
    left, right = Rounded.of(left), Rounded.of(right)
    ends = [op(a, b) for a in (left.low, left.high) for b in (right.low, right.high)]
    return Rounded(op(left.value, right.value), min(ends), max(ends))


def mean(cells: pd.Series) -> Rounded:
    """The mean of such numbers; pandas has none."""
    return cells.sum() / len(cells)


def values(cells: pd.DataFrame) -> pd.DataFrame:
    """The printed numbers alone."""
    return cells.map(lambda cell: cell.value)
