"""Simple scorers that every model has to beat."""
