"""How a field of a recipe, or of what it consists of, counts in its hash."""

WITHOUT_SAYING = {"hashed": "unless default"}
"""Marks a field that came after recipes had been hashed: its default is what they did before."""
