"""Mutants that survive the privacy tests, and why each is harmless."""

HARMLESS: dict[str, str] = {}
