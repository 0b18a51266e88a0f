"""`maya-serve`: a model behind OpenAI's transcription API, and a page for people. The extra `serve`."""
