"""Training: one loop for every network, from a recipe that prints and hashes."""
