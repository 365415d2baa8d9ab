"""Frames: video files and uint8 pictures on one side, float tensors on the other."""
