"""Follows logs and proves what is read: no index is passed but by a leaf hash proven under a signed root (P1)."""
