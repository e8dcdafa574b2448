"""The search benchmark: `prepare` (sets), `exact` (the truth), `worker` (engines), `parts` (what is measured), `summary`, `page`, `table`."""
