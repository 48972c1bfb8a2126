"""Judging picks with labels: judges, records, standings, comparison, figures."""
