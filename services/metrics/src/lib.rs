//! Exact merging of samples, live aggregates, target probes and the Prometheus endpoint.
