"""Drivers of other libraries, each a script for the Python of their environment.

They import `turn_server` by its bare name, as scripts of one folder do: as part of this
package they would import tfrec and TensorFlow, which are not installed there.
"""
