"""Which view answers which path."""

from django.contrib import admin
from django.urls import path, re_path

from files import serving
from graph import pages
from graph.schema import schema
from graph.view import CofferGraphQLView

# /health/live, /health/ready and /metrics are answered before any of these, by graph/probes.py.
urlpatterns = [
    re_path(
        r"^graphql/?$",
        CofferGraphQLView.as_view(schema=schema, multipart_uploads_enabled=True),
        name="graphql",
    ),
    path("files/<uuid:file_id>/<path:name>", serving.download, name="download"),
    path("renditions/<uuid:file_id>/<str:variation>/<path:name>", serving.rendition, name="rendition"),
    path("admin/", admin.site.urls),
    path("login/", pages.login, name="login"),
    path("logout/", pages.logout, name="logout"),
    path("password/", pages.password, name="password"),
    path("", pages.library, name="library"),
]

handler400 = "graph.problems.bad_request"
handler403 = "graph.problems.permission_denied"
handler404 = "graph.problems.not_found"
handler500 = "graph.problems.server_error"
