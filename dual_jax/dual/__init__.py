"""DUAL itself: network, objectives, steps, loop and read-out."""
