"""A django-tenants project: each tenant has a schema, and so a user 1."""
