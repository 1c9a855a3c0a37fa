"""Properties that `deployments/aws/stack.yaml` declares, to compare with those of the deployed resources."""

from functools import lru_cache
from typing import Any

import yaml

from deployments.aws.stack import TEMPLATE


class _TemplateLoader(yaml.SafeLoader):
    """Reads CloudFormation's short functions, like `!Ref`, as their argument."""


def _argument(loader: yaml.SafeLoader, _: str, node: yaml.Node) -> Any:  # noqa: ANN401 - YAML
    if isinstance(node, yaml.ScalarNode):
        return loader.construct_scalar(node)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node)
    return loader.construct_mapping(node) if isinstance(node, yaml.MappingNode) else None


_TemplateLoader.add_multi_constructor("!", _argument)


@lru_cache
def template_properties(resource: str) -> dict[str, Any]:
    """The properties of that resource in the template."""
    template = yaml.load(TEMPLATE.read_text(encoding="utf-8"), Loader=_TemplateLoader)  # noqa: S506 - a safe loader
    properties: dict[str, Any] = template["Resources"][resource]["Properties"]
    return properties
