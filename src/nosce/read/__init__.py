"""Reading knowledge back out of a checkpoint."""
