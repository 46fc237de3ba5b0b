"""Signing in, and how often it may be tried."""

from django.contrib.auth import get_user_model
from django.core.cache import cache
from django.test import TestCase, override_settings


@override_settings(PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"])  # fast
class SignInTests(TestCase):
    def setUp(self):
        self.addCleanup(cache.clear)
        get_user_model().objects.create_user("alice", password="demo")

    def sign_in(self, name, password, **options):
        body = {"username": name, "password": password}
        return self.client.post("/api/v1/token/", body, content_type="application/json", **options)

    def try_wrong(self, times):
        return [self.sign_in("alice", "wrong").status_code for _ in range(times)]

    def test_many_attempts_have_to_wait(self):
        self.assertEqual(self.try_wrong(21), [401] * 20 + [429])
        refused = self.sign_in("alice", "demo")
        self.assertEqual(refused.status_code, 429)
        self.assertTrue(0 < int(refused["Retry-After"]) <= 60)
        self.assertEqual(self.sign_in("bob", "wrong").status_code, 401)

    def test_a_header_that_anybody_can_send_does_not_help(self):
        answers = [
            self.sign_in("alice", "wrong", headers={"X-Forwarded-For": f"10.0.0.{number}"})
            for number in range(21)
        ]
        self.assertEqual(answers[-1].status_code, 429)

    def test_a_right_password_forgives_the_others(self):
        self.try_wrong(19)
        self.assertEqual(self.sign_in("alice", "demo").status_code, 200)
        self.assertEqual(self.try_wrong(20), [401] * 20)
