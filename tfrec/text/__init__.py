"""The language model: tokens, encoders, training modes and the cache of vectors."""
