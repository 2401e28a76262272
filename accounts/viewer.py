"""On whose behalf a request runs, and what it may do."""

from dataclasses import dataclass

from accounts.models import ApiToken, Scope, User


@dataclass(frozen=True, slots=True)
class Viewer:
    """A signed-in user with all scopes, a token's user with the token's, or nobody (`user` is None)."""

    user: User | None
    scopes: frozenset[Scope]
    token_id: int | None = None

    @classmethod
    def nobody(cls) -> "Viewer":
        """Without credentials, public files can be read and nothing written."""
        return cls(None, frozenset({Scope.READ}))

    @classmethod
    def signed_in(cls, user: User) -> "Viewer":
        return cls(user, frozenset(Scope))

    @classmethod
    def of_token(cls, token: ApiToken) -> "Viewer":
        scopes = frozenset(scope for scope in Scope if scope.value in token.scopes)
        return cls(token.user, scopes, token.pk)

    def may(self, scope: Scope) -> bool:
        return scope in self.scopes
