"""Files in Django's admin: to look at, to describe and to delete. Uploads are made over GraphQL."""

from collections.abc import Callable
from typing import Any, cast

import orjson
from django import forms
from django.conf import settings
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import QuerySet
from django.forms.fields import InvalidJSONInput
from django.http import HttpRequest
from django.template.defaultfilters import filesizeformat
from django.utils.html import format_html
from django.views.decorators.csp import csp_override

from accounts.models import User
from files import services, signing, storage
from files.errors import InvalidInput
from files.geometry import Size
from files.models import File
from files.services import Description
from files.variations import Variation

_PREVIEW_LIFETIME = 600  # seconds; as long as a page of the admin is looked at
_PREVIEW = Variation(width=240, height=240)


class StrictJSONField(forms.JSONField):
    """JSON as clients have to send it: Django's field lets through, or stumbles over, what cannot be kept."""

    def to_python(self, value: Any) -> Any:
        self._decoded(value)
        return super().to_python(value)

    def bound_data(self, data: Any, initial: Any) -> Any:
        try:
            self._decoded(data)
        except ValidationError:
            return InvalidJSONInput(data)
        return super().bound_data(data, initial)

    def _decoded(self, value: Any) -> None:
        try:
            orjson.loads(value or "null")
        except orjson.JSONDecodeError:
            raise ValidationError(self.error_messages["invalid"], "invalid", {"value": value}) from None


class FileForm(forms.ModelForm[File]):
    """What is said of a file, under the rules that clients are under."""

    tags = StrictJSONField(required=False)
    metadata = StrictJSONField(required=False)

    class Meta:
        model = File
        fields = ("name", "title", "description", "tags", "metadata", "visibility")

    def clean(self) -> dict[str, Any]:
        given = super().clean() or self.cleaned_data
        for field in self.Meta.fields:
            if field not in given:  # refused already
                continue
            try:
                given |= services.clean({field: given[field]})
            except InvalidInput as error:
                self.add_error(field, f"{error.reason[0].upper()}{error.reason[1:]}.")
        return given


@admin.register(File)
class FileAdmin(admin.ModelAdmin[File]):
    list_display = (
        "preview",
        "name",
        "kind",
        "content_type",
        "human_size",
        "owner",
        "visibility",
        "created_at",
    )
    list_display_links = ("name",)
    list_filter = ("kind", "visibility", "profile", "created_at", "content_type")
    list_select_related = ("owner",)
    list_per_page = 50
    show_full_result_count = False  # counting all rows again for each search is slow on large tables
    search_fields = ("name", "title", "sha256", "owner__username")
    date_hierarchy = "created_at"
    ordering = ("-created_at", "-id")
    fields = (
        "preview",
        "link",
        "name",
        "title",
        "description",
        "tags",
        "metadata",
        "visibility",
        "owner",
        "profile",
        "kind",
        "content_type",
        "size",
        "md5",
        "sha256",
        "storage",
        "key",
        "width",
        "height",
        "image_format",
        "frames",
        "taken_at",
        "camera",
        "lens",
        "created_at",
        "updated_at",
    )
    form = FileForm

    def get_readonly_fields(self, request: HttpRequest, obj: File | None = None) -> list[str]:
        return [field for field in self.fields if field not in FileForm.Meta.fields]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    @admin.display(description="")
    def preview(self, file: File) -> str:
        if not file.is_image:
            return ""
        size = _PREVIEW.size(Size(file.width or 1, file.height or 1))
        return format_html(
            '<img src="{}" alt="" loading="lazy" width="{}" height="{}">',
            signing.rendition_path(file, _PREVIEW, lifetime=_PREVIEW_LIFETIME),
            size.width,
            size.height,
        )

    @admin.display(description="bytes")
    def link(self, file: File) -> str:
        return format_html('<a href="{}">{}</a>', _address(file), file.name)

    @admin.display(description="size", ordering="size")
    def human_size(self, file: File) -> str:
        return filesizeformat(file.size)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        return _with_previews(super().changelist_view)(request, extra_context)

    def changeform_view(self, request: HttpRequest, *args: Any, **named: Any) -> Any:
        return _with_previews(super().changeform_view)(request, *args, **named)

    def save_model(self, request: HttpRequest, obj: File, form: FileForm, change: bool) -> None:
        changes = {field: form.cleaned_data[field] for field in form.changed_data}
        obj.updated_at = services.update(
            viewer=cast(User, request.user), file_id=obj.pk, changes=cast(Description, changes)
        ).updated_at

    def delete_model(self, request: HttpRequest, obj: File) -> None:
        with transaction.atomic():
            services.delete_rows([obj], by=cast(User, request.user))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[File]) -> None:
        with transaction.atomic():
            services.delete_rows(queryset, by=cast(User, request.user))


def _with_previews(view: Callable[..., Any]) -> Callable[..., Any]:
    shown: Callable[..., Any] = csp_override(storage.showing_images(settings.SECURE_CSP))(view)
    return shown


def _address(file: File) -> str:
    return signing.address(file, lifetime=_PREVIEW_LIFETIME, download=False)[0]
