"""For authors of models and components: the tests that every model passes, to be inherited.

A package's ``conftest.py`` says ``pytest_plugins = ["recbole_vae_plugin.testing.fixtures"]``; its test file
subclasses ``Contract`` or ``VariationalContract`` of :mod:`~recbole_vae_plugin.testing.contract`.
"""
