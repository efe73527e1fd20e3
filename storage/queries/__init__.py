"""SQL by name: the questions that the engine asks, as files next to this one."""

from importlib.resources import files

from storage.errors import UnknownQueryError


def query_names() -> list[str]:
    """Return the names of all shipped queries, sorted."""
    return sorted(
        entry.name.removesuffix(".sql")
        for entry in files(__name__).iterdir()
        if entry.name.endswith(".sql")
    )


def named_query(name: str) -> str:
    """Return the SQL of a query; its `$parameters` are explained in its first lines.

    Raises:
        UnknownQueryError: If there is no such query.
    """
    known = query_names()
    if name not in known:
        raise UnknownQueryError(name, known)
    return files(__name__).joinpath(f"{name}.sql").read_text(encoding="utf-8")
