"""Models that answer prompts: a local folder, an OpenAI-compatible endpoint, a cache of replies."""
