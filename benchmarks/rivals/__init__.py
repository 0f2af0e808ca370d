"""Drivers of other libraries, each a script for the Python of their environment.

They import `turn_server` by its bare name, as scripts of one folder do: to import it
as part of this package would import tfrec and TensorFlow, which are not installed there.
"""
