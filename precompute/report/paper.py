"""The figures printed in the paper (AR&D, arXiv 2602.22253, Tables 1–4), to stand beside those of a run.

They come from a 7B model, other data and other sizes than most runs. Nothing reads them but the report, which labels
them "paper".
"""

from __future__ import annotations

from precompute.report.blocks import Grid

TABLE_1 = Grid(
    "Table 1 of the paper: interpretability (Qwen2-Audio-7B, FSD50K evaluation set)",
    ("method", "highest m", "precision", "recall", "F1", "mAP"),
    [
        ("poly", "1.14", "0.05", "0.20", "0.08", "0.05"),
        ("random", "2.13 ± 0.08", "0.11 ± 0.05", "0.23 ± 0.06", "0.15 ± 0.04", "0.10 ± 0.05"),
        ("mean", "4.76", "0.42", "0.42", "0.42", "0.36"),
        ("coverage", "5.28", "0.46", "0.44", "0.45", "0.39"),
        ("ard, layer 5", "9.17", "0.48", "0.51", "0.49", "0.47"),
        ("ard, layer 16", "9.31", "0.52", "0.58", "0.55", "0.53"),
        ("ard, layer 26", "9.33", "0.55", "0.65", "0.60", "0.58"),
    ],
    source="paper",
)
TABLE_2 = Grid(
    "Table 2 of the paper: listening study (50 concepts a method)",
    ("method", "rating 0–5", "CLAP cosine", "BERTScore"),
    [
        ("poly", "2.13 ± 0.79", "0.47 ± 0.41", "0.23 ± 0.41"),
        ("ard", "4.29 ± 0.81", "0.84 ± 0.20", "0.92 ± 0.11"),
    ],
    source="paper",
)
TABLE_3 = Grid(
    "Table 3 of the paper: sensitivity (IEMOCAP-Emotion, VoxCeleb1-Gender)",
    ("method", "neutral → happy", "sad → happy", "happy → angry", "female → male"),
    [("poly", "0.13", "0.08", "0.04", "0.09"), ("ard", "0.75", "0.68", "0.47", "0.61")],
    source="paper",
)
TABLE_4 = Grid(
    "Table 4 of the paper: highest m",
    ("method", "layer 5", "layer 16", "layer 26"),
    [
        ("poly", "0.68", "1.02", "1.14"),
        ("ard, e = 4", "6.86", "7.34", "9.17"),
        ("ard, e = 8", "7.01", "7.85", "9.31"),
        ("ard, e = 16", "7.06", "7.89", "9.33"),
    ],
    source="paper",
)
NOTE_1 = (
    "In the paper the m of its Table 1 for layers 5, 16 and 26 equals the layer-26 column of its Table 4 over "
    "e = 4, 8, 16; compare layers with Table 4."
)
