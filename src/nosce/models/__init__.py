"""Language models: architectures on transformers, likelihoods, generation, activations, and served models."""
