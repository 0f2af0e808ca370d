"""How the parts of a candidate become one vector: a registry of fusions."""
