"""Biographies: is knowledge that was memorised also knowledge that can be extracted (arXiv:2309.14316)?"""
