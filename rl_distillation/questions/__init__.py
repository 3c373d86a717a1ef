"""Where the questions come from: a dataset, the user's iterable, or the teacher's pen."""
