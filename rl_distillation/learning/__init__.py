"""The update rules. Each turns judged answers into weighted examples; `Student.update` does the step."""
