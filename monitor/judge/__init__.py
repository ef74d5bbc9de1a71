"""The only author of findings: reads candidates, applies the rules, and keeps what they say in the caller's transaction."""
