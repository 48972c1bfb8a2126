"""Methods whose picks cover the pool."""
