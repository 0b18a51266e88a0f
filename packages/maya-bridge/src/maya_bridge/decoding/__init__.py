"""Prompt to text: the searches, what guards them, and what is told about the result."""
