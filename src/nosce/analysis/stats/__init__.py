"""Statistics: intervals that respect what was drawn together, and decisions made from them."""
