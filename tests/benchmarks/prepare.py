"""Make the tables and the users of one project; run as a process with its settings."""

import sys

import django
from django.core.management import call_command


def main(count: int) -> None:
    """Create the users u1 to u<count>, without usable passwords: nobody signs in by one here."""
    django.setup()
    from django.contrib.auth import get_user_model

    call_command("migrate", run_syncdb=True, verbosity=0)
    User = get_user_model()
    User.objects.bulk_create(
        [User(pk=i, username=f"u{i}", password="!") for i in range(1, count + 1)],
        batch_size=500,
    )


if __name__ == "__main__":
    main(int(sys.argv[1]))
