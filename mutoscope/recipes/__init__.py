"""Functions that return recipes: complete, printable, hashable descriptions of training runs."""
