"""Users and API tokens in Django's admin. A token's secret is shown once, when it is made."""

from typing import Any, cast

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.admin import UserAdmin
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest

from accounts import tokens
from accounts.models import ApiToken, Scope, User


@admin.register(User)
class CofferUserAdmin(UserAdmin[User]):
    fieldsets = (
        *(UserAdmin.fieldsets or ()),
        (
            "First sign-in",
            {
                "fields": ("must_change_password",),
                "description": "Tick this after you have given somebody a password. The library opens once "
                "they have chosen another one, which takes the tick away. The admin and API tokens do not "
                "wait for it.",
            },
        ),
        ("Files", {"fields": ("quota",)}),
    )


class ApiTokenForm(forms.ModelForm[ApiToken]):
    scopes = forms.MultipleChoiceField(
        choices=Scope.choices, widget=forms.CheckboxSelectMultiple, initial=Scope.values
    )

    class Meta:
        model = ApiToken
        fields = ("user", "name", "scopes", "expires_at")


@admin.register(ApiToken)
class ApiTokenAdmin(admin.ModelAdmin[ApiToken]):
    form = ApiTokenForm
    list_display = ("name", "hint", "user", "scope_list", "expires_at", "last_used_at", "usable")
    list_filter = ("revoked_at", "expires_at")
    list_select_related = ("user",)
    search_fields = ("name", "hint", "user__username")
    autocomplete_fields = ("user",)
    readonly_fields = ("hint", "created_at", "last_used_at", "revoked_at")
    actions = ("revoke_selected",)

    @admin.display(description="scopes")
    def scope_list(self, token: ApiToken) -> str:
        return ", ".join(token.scopes)

    @admin.display(boolean=True, description="usable")
    def usable(self, token: ApiToken) -> bool:
        return token.is_usable

    @admin.action(permissions=["change"], description="Revoke the selected tokens")
    def revoke_selected(self, request: HttpRequest, queryset: QuerySet[ApiToken]) -> None:
        for token in queryset:
            tokens.revoke(token, by=_signed_in(request))
        self.message_user(request, "The tokens open nothing any more.", messages.SUCCESS)

    def get_readonly_fields(self, request: HttpRequest, obj: ApiToken | None = None) -> Any:
        # A token's owner is part of what it is: another owner needs another token.
        return (*self.readonly_fields, "user") if obj else self.readonly_fields

    def save_model(self, request: HttpRequest, obj: ApiToken, form: ApiTokenForm, change: bool) -> None:
        if change:
            tokens.change(obj, by=_signed_in(request))
            return
        token, secret = tokens.issue(
            user=obj.user,
            name=obj.name,
            scopes=[Scope(each) for each in obj.scopes],
            expires_at=obj.expires_at,
            by=_signed_in(request),
        )
        obj.pk = token.pk
        obj.refresh_from_db()
        self.message_user(
            request, f"The token is {secret} — copy it now, it is not shown again.", messages.WARNING
        )

    def delete_model(self, request: HttpRequest, obj: ApiToken) -> None:
        tokens.delete(obj, by=_signed_in(request))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[ApiToken]) -> None:
        with transaction.atomic():
            for token in queryset:
                tokens.delete(token, by=_signed_in(request))


def _signed_in(request: HttpRequest) -> User:
    return cast(User, request.user)  # the admin lets nobody else in
