"""Contract tests that every model must pass, for authors of models and components to inherit.

A package's ``conftest.py`` says ``pytest_plugins = ["recbole_vae_plugin.testing.fixtures"]``; its test file
subclasses ``Contract`` or ``VariationalContract`` of :mod:`~recbole_vae_plugin.testing.contract`.
"""
