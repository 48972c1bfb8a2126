"""The experiments of Li et al., IJCAI 2020, run and drawn: what, at what cost, and what came out."""
