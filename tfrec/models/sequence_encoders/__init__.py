"""Sequence encoders: what a shopper wants next, read off their events."""
