"""Whose word counts: the keys and authorities of a Sigstore trusted root, and the checks of a certificate against them."""
