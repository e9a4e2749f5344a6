"""Running a policy in production: metrics, logs, checkpoints, shadows, trials."""
