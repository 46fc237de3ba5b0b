"""The demo project: run it with ``python manage.py demo``."""

# Celery finds its application here, and `shared_task` in every process of the project.
from .celery import app as celery_app

__all__ = ["celery_app"]
