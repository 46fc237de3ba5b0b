"""A project whose users have primary keys of another kind: text or UUIDs (``IDENTITY``)."""
