"""The AWS side: CloudFormation templates, and how one of them becomes a stack."""
