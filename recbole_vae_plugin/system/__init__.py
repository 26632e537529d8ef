"""The operating system: atomic file writes, processors, installed packages."""
