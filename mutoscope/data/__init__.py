"""Clips from the world or from files, encoded once, as training batches by number."""
