"""CloudFormation templates, and the code that creates or updates the main stack."""
