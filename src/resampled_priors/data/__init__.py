"""Data sets: raw files, readers, prepared files."""
