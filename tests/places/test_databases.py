"""``on_commit``: after the commit of the database that the user came from, or that is named."""


def test_the_transaction_is_that_of_the_user_s_database(run, published, tmp_path):
    """What was rolled back there is not published, nor is anybody's session ended."""
    databases = {
        "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": f"{tmp_path}/default"},
        "other": {"ENGINE": "django.db.backends.sqlite3", "NAME": f"{tmp_path}/other"},
    }
    run("tests.places.two_databases", DATABASES=databases)
    kinds = ("rolled back", "committed", "rolled async", "done async", "logged_out")
    assert published.take(*kinds) == [0, 5, 0, 4, 0]
