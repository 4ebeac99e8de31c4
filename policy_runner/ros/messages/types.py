"""Message types by name: their classes and fields."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from policy_runner.core.errors import refuse


def message_class(type_name: str, key: str) -> Any:
    """Return the class of a message type such as `sensor_msgs/msg/Imu`; `key` names it in errors.

    Raises:
        Refusal: the package is not installed or has no such message.
    """
    package, _, name = type_name.partition("/msg/")
    if not (package.isidentifier() and name.isidentifier()):
        expected = "package/msg/Name, such as sensor_msgs/msg/Imu"
        raise refuse("", key, expected, f"'{type_name}'")
    try:
        module = __import__(f"{package}.msg", fromlist=[name])
        return getattr(module, name)
    except (ImportError, AttributeError) as error:
        remedy = f"install the package {package}, or correct the type"
        raise refuse("", key, "a message type that is installed", type_name, remedy) from error


def type_name(message_class: Any) -> str:
    """Return the name of a message class, such as `sensor_msgs/msg/Imu`."""
    package = message_class.__module__.partition(".")[0]
    return f"{package}/msg/{message_class.__name__}"


@lru_cache(maxsize=256)
def describe_message(type_name: str) -> dict[str, str]:
    """Return the fields of a message type, in order: field name -> type."""
    package, _, name = type_name.replace("/msg/", "/").partition("/")
    module = __import__(f"{package}.msg", fromlist=[name])
    fields: dict[str, str] = getattr(module, name).get_fields_and_field_types()
    return fields
