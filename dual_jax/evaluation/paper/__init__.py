"""The experiments of Li et al., IJCAI 2020, run and drawn: protocols, costs and results."""
