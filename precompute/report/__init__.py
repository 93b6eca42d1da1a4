"""The report of a run: its tables and plots beside the paper's figures, as data that two templates lay out."""
