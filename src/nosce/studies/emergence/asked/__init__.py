"""Emergence on models of one's own: sums and products asked in words, of one model or of a ladder of sizes."""
