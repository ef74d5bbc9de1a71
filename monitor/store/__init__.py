"""All SQL of the house: a file a noun, over one engine for SQLite or PostgreSQL. Rooms above open transactions; nothing here commits."""
