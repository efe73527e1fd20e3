"""Questions that people ask often, as SQL files next to this one.

The first line of a file is a comment that says what it answers. Then each parameter has a line
`-- $name = DEFAULT: what it means`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files

from storage.errors import UnknownQueryError
from storage.queries.values import Value, typed_value

_PARAMETER = re.compile(r"-- \$(?P<name>\w+) = (?P<default>\S+): (?P<meaning>.+)")


@dataclass(frozen=True)
class Parameter:
    """A value that a recipe can be given.

    Attributes:
        name: Its name, without the `$`.
        default: What it is if it is not given.
        meaning: What it means, in a few words.
    """

    name: str
    default: Value
    meaning: str


@dataclass(frozen=True)
class Recipe:
    """A question with its SQL.

    Attributes:
        name: Its name.
        meaning: What it answers, in a sentence.
        parameters: What it can be given.
        sql: One statement with the parameters as `$name`.
    """

    name: str
    meaning: str
    parameters: tuple[Parameter, ...]
    sql: str

    def values(self, given: Mapping[str, Value]) -> dict[str, Value]:
        """The values of all parameters: those that are given, and the defaults.

        A value of the recipe that is not its own is left in, for the query to refuse.
        """
        return {parameter.name: parameter.default for parameter in self.parameters} | dict(given)


def recipe_names() -> list[str]:
    """Return the names of all recipes, sorted."""
    return sorted(
        entry.name.removesuffix(".sql")
        for entry in files(__name__).iterdir()
        if entry.name.endswith(".sql")
    )


def load_recipe(name: str) -> Recipe:
    """Read a recipe.

    Raises:
        UnknownQueryError: If there is none of this name.
    """
    known = recipe_names()
    if name not in known:
        raise UnknownQueryError(name, known)
    sql = files(__name__).joinpath(f"{name}.sql").read_text(encoding="utf-8")
    first, *rest = sql.splitlines()
    parameters = tuple(
        Parameter(found["name"], typed_value(found["default"]), found["meaning"])
        for line in rest
        if (found := _PARAMETER.fullmatch(line))
    )
    return Recipe(name, first.removeprefix("-- "), parameters, sql)
