"""A procedural world with known truth: captioned clips, each from one integer seed."""
