"""Results on disk: content-addressed folders, what their names are made of, and where they come from."""
