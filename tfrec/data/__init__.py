"""Preparation, storage and input of event data."""
