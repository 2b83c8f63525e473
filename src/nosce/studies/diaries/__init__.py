"""Diaries: does a model know how much it knows (arXiv:2502.19573)?"""
