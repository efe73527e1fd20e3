"""What can stand in the way of provisioning."""

from storage.addresses import without_secrets


class ProvisionError(RuntimeError):
    """Base of the errors below; a person can act on each of them."""


class ServerNotNamedError(ProvisionError):
    """Nobody said which Prefect server to provision."""

    def __init__(self) -> None:
        super().__init__(
            "no Prefect server is named: set PREFECT_API_URL, such as http://127.0.0.1:4200/api"
        )


class ServerUnreachableError(ProvisionError):
    """The Prefect server does not answer, or not with what was asked for.

    Attributes:
        url: Its address, without what may be a secret in it.
    """

    def __init__(self, url: str, reason: str) -> None:
        self.url = without_secrets(url)
        super().__init__(f"the Prefect server at {self.url} {reason}")


class PoolTypeError(ProvisionError):
    """A work pool of another type has the name, and a pool cannot change its type.

    Attributes:
        name: The pool.
        found: Its type.
        wanted: The type that was asked for.
    """

    def __init__(self, name: str, found: str, wanted: str) -> None:
        self.name, self.found, self.wanted = name, found, wanted
        super().__init__(
            f"work pool {name} is of type {found}, not {wanted}: give --type {found}, or --update "
            "to delete it and make it anew; its runs wait until its deployments are deployed again"
        )


class NotificationBlockError(ProvisionError):
    """The block named by SEGMILL_NOTIFICATION_BLOCK cannot send what happened.

    Attributes:
        name: Type and name of the block.
    """

    def __init__(self, name: str, reason: str) -> None:
        self.name = name
        super().__init__(f"SEGMILL_NOTIFICATION_BLOCK={name}: {reason}")
