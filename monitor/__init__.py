"""The TruStacks signing monitor: reads public transparency logs for signatures in our name and tells on-call."""
