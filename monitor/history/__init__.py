"""Answers questions about what is stored, in rows of stable, documented fields. It reads only, and decides nothing."""
