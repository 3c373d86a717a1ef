"""What a run keeps on disk: graph checkpoints, adapter snapshots and the ledger."""
