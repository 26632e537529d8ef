"""The RecBole models, one file each, and their base classes."""
