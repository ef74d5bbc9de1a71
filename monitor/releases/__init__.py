"""What may be signed: who vouches for which digests of which release, and under which hashes those stand in a log."""
