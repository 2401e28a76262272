"""The audit log in the admin: to be read and nothing else, by superusers too."""

from typing import Any
from uuid import UUID

from django.contrib import admin
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.functional import cached_property

from audit.models import Entry

_SHOWN = 10_000  # entries to leaf through; counting all of a large log for each page is slow


class CappedPaginator(Paginator[Entry]):
    """Counts no further than anybody leafs."""

    object_list: QuerySet[Entry]

    @cached_property
    def count(self) -> int:
        return self.object_list[:_SHOWN].count()


@admin.register(Entry)
class EntryAdmin(admin.ModelAdmin[Entry]):
    list_display = (
        "at",
        "action",
        "code",
        "username",
        "via",
        "token_id",
        "address",
        "owner",
        "name",
        "size",
        "file_id",
    )
    list_filter = ("action", "as_staff", "at")
    list_per_page = 50
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    search_fields = ("username",)
    search_help_text = "A user's name as a whole, or the id of a file."
    paginator = CappedPaginator
    sortable_by = ("at",)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Entry], search_term: str
    ) -> tuple[QuerySet[Entry], bool]:
        """By what an index finds at once; a part of a text would read the whole log."""
        term = search_term.strip()
        if not term:
            return queryset, False
        try:
            return queryset.filter(file_id=UUID(term)), False
        except ValueError:
            return queryset.filter(username=term), False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Entry | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
