"""The state machine: its state, its context, its edges, and how a run is driven through it."""
