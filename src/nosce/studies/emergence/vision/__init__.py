"""Small networks that see, with a sharp and a smooth metric each (arXiv:2304.15004, section 5)."""
