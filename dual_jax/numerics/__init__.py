"""Arithmetic that survives float32, statistics of a pool, kernels, graphs and k-means."""
