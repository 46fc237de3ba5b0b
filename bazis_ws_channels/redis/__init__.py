"""Talking to Redis or Valkey: hosts, commands, connections. Nothing here knows the package."""
