"""The nouns every room speaks: frozen dataclasses over the standard library and `tlog`; no I/O, no clock, no SQL."""
