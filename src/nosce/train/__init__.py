"""Training: what changes a result, the loss, the loop, and the checkpoints it leaves."""
