"""Talking to Redis or Valkey: hosts, commands, connections."""
