"""The makers of the data sets: `glove` and `minilm`, over `fetch` (packages), `passages` (text) and `results` (files)."""
