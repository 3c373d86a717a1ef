"""The graph's nodes: each reads the state, calls plain functions and returns what changed."""
