"""From characters to packed windows: tokenizers, packing and the order of batches."""
