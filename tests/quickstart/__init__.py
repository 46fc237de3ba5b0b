"""docs/quickstart.md, done as it is written: in a fresh folder and environment, with a browser."""
