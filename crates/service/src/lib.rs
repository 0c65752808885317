//! What every service has: tasks with owners, shutdown, tracing, configuration layers.
