"""Model shapes on transformers classes, nothing home-made."""
