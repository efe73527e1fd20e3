"""Read YAML that people write: what it leaves open or takes silently is refused in a sentence."""

import re
from typing import Any

import yaml


class StrictYamlError(ValueError):
    """A text that is no YAML, or that gives a key twice."""


class _Loader(yaml.SafeLoader):
    """Reads 5e-6 as a number, as YAML 1.2 does, and refuses a key that is given twice."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        # Here, for later << puts the keys of other mappings among a mapping's own.
        node = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise _refused("a list or a mapping cannot be a key", key)
            if key.value in seen:
                raise _refused(f"{key.value} is given twice", key)
            seen.add(key.value)
        return node


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+"),
    list("-+0123456789."),
)


def load_yaml(data: bytes | str) -> Any:
    """Read YAML.

    Args:
        data: The text; as bytes, in UTF-8 or UTF-16.

    Returns:
        Mappings, lists and plain values. A value may hold itself, as YAML lets it.

    Raises:
        StrictYamlError: It is no YAML, or a key is given twice; the message is one line.
    """
    try:
        return yaml.load(data, _Loader)
    except RecursionError:
        raise StrictYamlError("it is nested too deeply") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise StrictYamlError(" ".join(str(error).split())) from None
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError) as error:
        # What PyYAML does not catch itself of values that look like a date or number, or whose tag
        # says so, and are none.
        raise StrictYamlError(
            f"a value is not what it looks like, such as a date that no calendar has ({error}); "
            "put quotes around text"
        ) from None


def _refused(problem: str, node: yaml.Node) -> yaml.constructor.ConstructorError:
    return yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
