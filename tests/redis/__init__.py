"""Redis as it really behaves: each case with the real server."""
