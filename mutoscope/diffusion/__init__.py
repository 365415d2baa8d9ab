"""Noise: what is added, what is predicted, how it is removed. The network is just a callable."""
