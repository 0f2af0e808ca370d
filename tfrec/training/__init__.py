"""Trainer, strategies, checkpoints and callbacks."""
