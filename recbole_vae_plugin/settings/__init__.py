"""Settings: how a key is declared, checked, and read from a file. Pure Python."""
