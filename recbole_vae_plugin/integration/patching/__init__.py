"""Patching of another package: patches are declared, ordered, compared with the source they were written
against, and can be undone."""
