"""Is a jump in the ability or in the metric (arXiv:2304.15004)? Tests, simulations, and readers of score tables."""
