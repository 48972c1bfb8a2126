"""Methods whose picks rebuild the pool linearly."""
