"""The trusted core: the only code that turns private records into numbers that leave.

It imports nothing else of dpsynth. Its contract is the README's section "The guarantee".
"""

from dpsynth.privacy.certificate import certificate
from dpsynth.privacy.coins import Coins
from dpsynth.privacy.engine import PerExample
from dpsynth.privacy.ledger import Charge, Ledger
from dpsynth.privacy.mechanisms import Counts, Gradients
from dpsynth.privacy.plan import BudgetError, Plan, make_plan, query_noise
from dpsynth.privacy.private import Private, evaluation, scaled

__all__ = [
    "BudgetError", "Charge", "Coins", "Counts", "Gradients", "Ledger", "PerExample", "Plan", "Private", "certificate",
    "evaluation", "make_plan", "query_noise", "scaled",
]  # fmt: skip
