"""Readers of what people have: evaluation tools' own files and any table, as tables that the mirage test takes."""
