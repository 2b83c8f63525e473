"""One contract for whoever answers prompts: a checkpoint, a folder of the hub's layout, an endpoint, a cache."""
