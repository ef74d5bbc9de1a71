"""Tells people: makes incidents and deliveries of stored findings, and takes them to the sinks until they are told."""
