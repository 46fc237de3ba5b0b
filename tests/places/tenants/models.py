"""The tenants, in the public schema."""

from django.db import models
from django_tenants.models import DomainMixin, TenantMixin


class Tenant(TenantMixin):
    """A tenant."""

    name = models.CharField(max_length=50)
    auto_create_schema = False


class Domain(DomainMixin):
    """A host of a tenant."""
