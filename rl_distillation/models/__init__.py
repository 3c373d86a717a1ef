"""The language models: teacher and judge as LangChain chat models, the student as transformers + PEFT."""
