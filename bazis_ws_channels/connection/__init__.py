"""One WebSocket connection: its gate, session, watches, inbox and limits."""
