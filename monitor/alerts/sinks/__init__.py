"""Where people read: each sink shapes a message for its own edge and escapes what is foreign there. A sink never decides what is told."""
