"""The machine below: files written whole or not at all, processors, installed packages."""
