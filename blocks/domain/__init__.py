"""The vocabulary of the system: files, reports, errors, names, limits. Pure: it imports neither prefect nor boto3."""
