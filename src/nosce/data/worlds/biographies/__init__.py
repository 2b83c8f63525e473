"""Biographies: people with six attributes each, told in many wordings (arXiv:2309.14316)."""
