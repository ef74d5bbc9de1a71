"""RFC 6962, RFC 9162 and C2SP arithmetic: Merkle trees, proofs, signed notes, checkpoints and tiles.

No I/O and no clock in this room; it knows bytes and numbers, and nothing of what a leaf means.
"""

from __future__ import annotations
