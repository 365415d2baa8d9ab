"""Meaning: prompts and frames become what denoisers eat."""
