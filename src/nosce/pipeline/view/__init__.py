"""The local server of `nosce view`: one's own results beside published ones, and runs while they go on."""
