"""Introspection: does a model know itself better than another model that studied it (arXiv:2410.13787)?"""
