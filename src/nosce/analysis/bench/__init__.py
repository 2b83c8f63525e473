"""A bench for claims: readings whose truth is known, and what a study's claims make of them."""
