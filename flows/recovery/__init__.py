"""What is taken up again: files that are due or were never announced, and runs whose process is gone."""
