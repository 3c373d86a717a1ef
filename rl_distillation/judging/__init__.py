"""Whether an answer is right: cheap and certain judges first, an LLM for what they leave open."""
