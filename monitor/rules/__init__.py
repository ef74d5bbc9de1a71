"""The rules: from an entry, a conflict or the health of a source to findings. Pure: no I/O, no clock, no database."""
