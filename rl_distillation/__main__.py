"""`python -m rl_distillation` is `rl-distill`."""

from rl_distillation.cli import main

main()
