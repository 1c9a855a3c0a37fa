"""A CloudFormation template as it is for certain parameters: conditions decided, branches chosen."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from cfnlint.decode import cfn_yaml  # type: ignore[import-untyped]  # it carries no types

FOLDER: Final = Path(__file__).parents[2] / "deployments" / "aws"
_NO_VALUE: Final = {"Ref": "AWS::NoValue"}


def rendered(name: str, **given: object) -> dict[str, Any]:
    """The template of that file: resources and outputs whose condition is false are left out.

    A reference to a parameter becomes its value; one to a resource, and any other function, stays as it is.
    """
    template = cfn_yaml.loads((FOLDER / name).read_text(encoding="utf-8"))
    unknown = given.keys() - template["Parameters"].keys()
    assert not unknown, f"{name} has no parameters {unknown}"
    defaults = {key: each["Default"] for key, each in template["Parameters"].items() if "Default" in each}
    values = {key: _as_parameter(template["Parameters"][key], value) for key, value in {**defaults, **given}.items()}
    decided: dict[str, bool] = {}
    for condition, expression in template.get("Conditions", {}).items():
        decided[condition] = _resolved(expression, values, decided)
    kept = {
        section: {
            key: _resolved(each, values, decided)
            for key, each in template.get(section, {}).items()
            if decided.get(each.get("Condition"), True)
        }
        for section in ("Resources", "Outputs")
    }
    return {**template, **kept}


def _as_parameter(described: dict[str, Any], value: object) -> object:
    is_list = "List" in described["Type"]
    return str(value).split(",") if is_list else str(value)


def _resolved(node: Any, values: dict[str, Any], decided: dict[str, bool]) -> Any:  # noqa: ANN401 - YAML of any shape
    def resolve(each: Any) -> Any:  # noqa: ANN401 - as above
        return _resolved(each, values, decided)

    if isinstance(node, list):
        return [each for each in map(resolve, node) if each != _NO_VALUE]
    if not isinstance(node, dict):
        return node
    if len(node) == 1:
        [(function, argument)] = node.items()
        if function == "Fn::If":
            return resolve(argument[1] if decided[argument[0]] else argument[2])
        if function == "Ref":
            return values.get(argument, node)
        if function in _FUNCTIONS:
            return _FUNCTIONS[function](*resolve(argument))
    members = {key: resolve(each) for key, each in node.items()}
    return {key: each for key, each in members.items() if each != _NO_VALUE}


def _join(delimiter: str, parts: list[Any]) -> object:
    is_text = all(isinstance(each, str) for each in parts)
    return delimiter.join(parts) if is_text else {"Fn::Join": [delimiter, parts]}


_FUNCTIONS: Final[dict[str, Callable[..., object]]] = {
    "Fn::Equals": lambda one, other: str(one) == str(other),
    "Fn::Not": lambda each: not each,
    "Fn::And": lambda *each: all(each),
    "Fn::Or": lambda *each: any(each),
    "Fn::Join": _join,
}
