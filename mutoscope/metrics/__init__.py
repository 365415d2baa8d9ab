"""What a video is worth: readings of the oracle, and how sure a figure is."""
