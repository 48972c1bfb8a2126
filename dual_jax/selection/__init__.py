"""What a selection is, and the greedy and swaps that cover a pool."""
