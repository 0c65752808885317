//! Histograms and counts: exact merging, percentiles and what thresholds read from them.
