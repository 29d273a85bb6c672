"""Settings of Shopify's webhooks: the secrets that they are signed with, and the shops that may send."""

from __future__ import annotations

import re
from typing import Final

from pydantic import SecretStr, field_validator, model_validator

from segops.config.base import SettingsSection, setting, variable_of

_SHOP: Final = re.compile(r"[a-z0-9][a-z0-9.-]{0,252}")


class ShopifySettings(SettingsSection):
    """The shops whose webhooks the collector receives. Without a secret it receives none."""

    secrets: SecretStr | None = setting(
        "SHOPIFY_SECRETS",
        None,
        "Client secret that Shopify signs webhooks with; during a rotation the new and the former, "
        "separated by a comma.",
    )
    shops: str = setting(
        "SHOPIFY_SHOPS", "", "Domains of the shops that may send webhooks, such as a.myshopify.com."
    )

    @field_validator("shops")
    @classmethod
    def _domains(cls, text: str) -> str:
        names = [each.strip().lower() for each in text.split(",") if each.strip()]
        if not all(map(_SHOP.fullmatch, names)):
            raise ValueError("expected domains separated by commas, such as a.myshopify.com")
        return ",".join(names)

    @model_validator(mode="after")
    def _shops_of_secrets(self) -> ShopifySettings:
        if self.keys and not self.shops:
            names = [variable_of(type(self), field) for field in ("shops", "secrets")]
            raise ValueError(f"missing {names[0]}: the shops that may send webhooks, beside {names[1]}")
        return self

    @property
    def keys(self) -> tuple[bytes, ...]:
        """The secrets as bytes; none if webhooks are not received."""
        texts = self.secrets.get_secret_value().split(",") if self.secrets else []
        return tuple(each.strip().encode() for each in texts if each.strip())

    @property
    def domains(self) -> frozenset[str]:
        """The domains of the shops, in lower case."""
        return frozenset(self.shops.split(",")) if self.shops else frozenset()
