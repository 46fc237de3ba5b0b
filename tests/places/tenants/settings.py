"""The tests' settings with tenants."""

import os

from tests.settings import *  # noqa: F403

SHARED_APPS = ["django_tenants", "daphne", "channels", "tests.places.tenants"]
TENANT_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "bazis_ws_channels",
    "tests.places.tenants.people",
]
INSTALLED_APPS = SHARED_APPS + TENANT_APPS
MIDDLEWARE = ["django_tenants.middleware.main.TenantMainMiddleware"]
TENANT_MODEL = "tenants.Tenant"
TENANT_DOMAIN_MODEL = "tenants.Domain"
AUTH_USER_MODEL = "people.User"
ROOT_URLCONF = "tests.places.tenants.urls"
ALLOWED_HOSTS = ["*"]
DATABASE_ROUTERS = ["django_tenants.routers.TenantSyncRouter"]
DATABASES = {
    "default": {
        "ENGINE": "django_tenants.postgresql_backend",
        "HOST": "127.0.0.1",
        "PORT": os.environ["TENANTS_PORT"],
        "NAME": "postgres",
        "USER": "postgres",
    }
}
BAZIS_WS_NAMESPACE = "tests.places.tenants.spaces.namespace"
