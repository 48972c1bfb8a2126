"""scikit-learn's contract around the methods: fit on a pool, read the picks."""
