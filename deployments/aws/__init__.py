"""CloudFormation templates, the code that creates or updates the stacks, and the metrics of their queue."""
