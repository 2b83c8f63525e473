"""What is asked of a model: questions, written answers, probes and patches, each a table of readings."""
