//! A run's results as summary.json, junit.xml and report.html.
