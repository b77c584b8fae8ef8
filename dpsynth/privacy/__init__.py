"""The trusted core: the only code that turns private records into numbers that leave.

It imports nothing else of dpsynth. Its contract, line by line, is the README.md beside this file.
"""

from dpsynth.privacy.coins import Coins
from dpsynth.privacy.engine import PerExample, Watched, per_example
from dpsynth.privacy.ledger import Charge, Ledger
from dpsynth.privacy.mechanisms import Counts, Gradients, Sums
from dpsynth.privacy.plan import BudgetError, Plan
from dpsynth.privacy.private import Fakes, Private, evaluation

__all__ = [
    "BudgetError", "Charge", "Coins", "Counts", "Fakes", "Gradients", "Ledger", "PerExample", "Plan", "Private",
    "Sums", "Watched", "evaluation", "per_example",
]  # fmt: skip
