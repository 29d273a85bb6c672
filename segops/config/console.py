"""Settings of the console: where it listens, who may sign in and how, and what it takes on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, ByteSize, SecretStr

from segops.config.base import SettingsSection, setting
from segops.config.types import MAX_PORT, Host, Networks, PositiveDurationMs, Token, WebAddress, WebOrigin

RoleName = Literal["viewer", "editor", "approver", "admin"]


def _secret(text: SecretStr) -> SecretStr:
    if len(text.get_secret_value()) < 32:
        raise ValueError("expected at least 32 characters")
    return text


class ConsoleSettings(SettingsSection):
    """`segops console`."""

    host: Host = setting("CONSOLE_HOST", "127.0.0.1", "Address that the console listens on.")
    port: int = setting("CONSOLE_PORT", 6084, "Port of the console.", ge=0, le=MAX_PORT)
    web_port: int = setting(
        "CONSOLE_WEB_PORT",
        6085,
        "Port of the console's health and metrics pages, on SEGOPS_WEB_HOST.",
        ge=0,
        le=MAX_PORT,
    )
    url: WebOrigin | None = setting(
        "CONSOLE_URL", None, "Address of the console as browsers see it; with https, cookies demand TLS."
    )
    hosts: str = setting(
        "CONSOLE_HOSTS",
        "",
        "Names, separated by commas, that requests may give in their Host header, beside that of "
        "SEGOPS_CONSOLE_URL; any if both are empty and there is a login.",
    )
    secret: Annotated[SecretStr, AfterValidator(_secret)] | None = setting(
        "CONSOLE_SECRET",
        None,
        "Secret of at least 32 characters that signs sessions; the same in each replica. By default random: "
        "a restart signs everyone out.",
    )
    session_ms: PositiveDurationMs = setting(
        "CONSOLE_SESSION", "12h", "How long a sign-in lasts, however much the console is used."
    )
    idle_ms: PositiveDurationMs = setting(
        "CONSOLE_IDLE", "2h", "How long a sign-in lasts without a page being opened."
    )
    token: Token | None = setting(
        "CONSOLE_TOKEN", None, "Token of the role admin: for signing in, and for scripts as a bearer token."
    )
    users: SecretStr | None = setting(
        "CONSOLE_USERS",
        None,
        "Users as name:role:hash separated by commas; `segops console hash` makes the hash of a password.",
    )
    users_file: Path | None = setting(
        "CONSOLE_USERS_FILE", None, "File of further users, a name:role:hash per line."
    )
    trusted_proxies: Networks = setting(
        "CONSOLE_TRUSTED_PROXIES",
        "",
        "Addresses and networks, separated by commas, of reverse proxies whose headers are believed.",
    )
    proxy_user_header: str | None = setting(
        "CONSOLE_PROXY_USER_HEADER", None, "Header in which a trusted proxy names the signed-in user."
    )
    proxy_role_header: str | None = setting(
        "CONSOLE_PROXY_ROLE_HEADER", None, "Header in which a trusted proxy names the user's role."
    )
    proxy_role: RoleName = setting(
        "CONSOLE_PROXY_ROLE", "viewer", "Role of a proxy's users without a SEGOPS_CONSOLE_PROXY_ROLE_HEADER."
    )
    oidc_issuer: WebAddress | None = setting(
        "CONSOLE_OIDC_ISSUER", None, "Issuer of OpenID Connect, by whom users are signed in."
    )
    oidc_client_id: str | None = setting("CONSOLE_OIDC_CLIENT_ID", None, "Client id at the issuer.")
    oidc_client_secret: SecretStr | None = setting(
        "CONSOLE_OIDC_CLIENT_SECRET", None, "Client secret at the issuer; empty for a public client."
    )
    oidc_scopes: str = setting(
        "CONSOLE_OIDC_SCOPES", "openid profile email", "Scopes that are asked for, separated by spaces."
    )
    oidc_name_claim: str = setting(
        "CONSOLE_OIDC_NAME_CLAIM", "email", "Claim of the ID token that names the user."
    )
    oidc_role_claim: str = setting(
        "CONSOLE_OIDC_ROLE_CLAIM", "groups", "Claim of the ID token with the user's roles or groups."
    )
    oidc_roles: str = setting(
        "CONSOLE_OIDC_ROLES",
        "viewer=viewer,editor=editor,approver=approver,admin=admin",
        "Values of that claim as value=role pairs separated by commas; the highest counts, none is refused.",
    )
    audit_retention_ms: PositiveDurationMs = setting(
        "CONSOLE_AUDIT_RETENTION", "400d", "Retention of what people did and read in the console."
    )
    connections: int = setting(
        "CONSOLE_CONNECTIONS",
        2_000,
        "Maximum number of connections to the console; a further one closes the oldest that is idle.",
        ge=1,
        le=100_000,
    )
    timeout_ms: PositiveDurationMs = setting(
        "CONSOLE_TIMEOUT",
        "20s",
        "Timeout of the console for receiving a request, making a page, sending it, and an idle connection.",
    )
    body_bytes: ByteSize = setting(
        "CONSOLE_MAX_BODY", "1MiB", "Maximum size of a form.", ge=1 << 10, le=64 << 20
    )

    @property
    def address(self) -> str:
        """Return the address of the console without a slash at the end, as people and scripts use it."""
        if self.url is not None:
            return self.url
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"
