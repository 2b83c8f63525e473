"""The mirage test on tables: what a table must hold, what it is turned into, and what is said of it."""
