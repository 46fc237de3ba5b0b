"""The page, and errors that no view of the API has answered."""

from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

__all__ = ["bad_request", "not_found", "page", "server_error"]

# No inline scripts or styles, nothing from elsewhere, and (trusted types) no HTML from strings:
# a browser that knows it refuses `innerHTML = message` even if somebody writes it one day.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
    " form-action 'self'; base-uri 'none'; frame-ancestors 'none';"
    " require-trusted-types-for 'script'; trusted-types 'none'"
)


@require_safe
def page(request: HttpRequest) -> HttpResponse:
    response = render(request, "demo/page.html")
    response["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
    response["Cache-Control"] = "no-cache"
    return response


def bad_request(request: HttpRequest, exception: Any) -> JsonResponse:
    return JsonResponse({"detail": "Bad request."}, status=400)


def not_found(request: HttpRequest, exception: Any) -> JsonResponse:
    return JsonResponse({"detail": "Not found."}, status=404)


def server_error(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"detail": "Server error."}, status=500)
