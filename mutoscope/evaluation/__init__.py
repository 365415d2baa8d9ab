"""Measuring a model: what is asked of it, how it is scored, and the report."""
