"""Preprocessing in the graph, shared by training and export."""
