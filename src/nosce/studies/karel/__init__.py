"""Karel: does a model understand the programs it writes (arXiv:2305.11169)?"""
