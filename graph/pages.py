"""The pages for people beside GraphiQL: the library, and the way in. They say nothing of any file: the script
of the library asks GraphQL, like any other client."""

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.contrib.auth.views import LoginView, LogoutView
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.csp import csp_override
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.decorators.http import require_safe

from files import storage


@require_safe
@login_required
@ensure_csrf_cookie  # its script sends the cookie's value back with each request
def library(request: HttpRequest) -> HttpResponse:
    shown = csp_override(storage.showing_images(settings.SECURE_CSP))(render)
    page: HttpResponse = shown(request, "graph/library.html", {"graphiql": settings.GRAPHIQL})
    return page


login = LoginView.as_view(template_name="graph/login.html", redirect_authenticated_user=True)
logout = LogoutView.as_view()
