"""The studies, each a method section that runs."""
