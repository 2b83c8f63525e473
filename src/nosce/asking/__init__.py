"""The protocol of introspection for models that are asked in words: a local folder, or an endpoint."""
