"""Pure: which leaves may concern us, what a leaf says, and what cosign may log for a digest. No clock, no network, no store."""
