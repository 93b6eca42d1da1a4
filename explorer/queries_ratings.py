"""The tables of `ratings.duckdb` and the questions put to them; every value is a bound parameter."""

from __future__ import annotations

SCHEMA = """
CREATE TABLE IF NOT EXISTS studies (study_id VARCHAR PRIMARY KEY, seed BIGINT, repeats INTEGER, note VARCHAR,
    created_at VARCHAR);
CREATE TABLE IF NOT EXISTS items (study_id VARCHAR, place INTEGER, item_id VARCHAR, method VARCHAR, sae_id VARCHAR,
    latent_id INTEGER, name VARCHAR, catch BOOLEAN, audio VARCHAR[], durations DOUBLE[],
    PRIMARY KEY (study_id, item_id));
CREATE TABLE IF NOT EXISTS showings (study_id VARCHAR, rater VARCHAR, position INTEGER, item_id VARCHAR,
    "repeat" BOOLEAN, PRIMARY KEY (study_id, rater, position));
CREATE TABLE IF NOT EXISTS answers (study_id VARCHAR, rater VARCHAR, position INTEGER, kind VARCHAR, part INTEGER,
    "text" VARCHAR, rating INTEGER, seconds DOUBLE, saved_at VARCHAR,
    PRIMARY KEY (study_id, rater, position, kind, part));
"""
PUBLISHED = """
SELECT s.study_id, s.item_id, s.rater, i.method, i.sae_id, i.latent_id, d."text" AS description, r.rating, i.catch,
    s."repeat", coalesce(a.heard = len(i.audio), false) AS heard, a.seconds,
    coalesce(r.saved_at, d.saved_at) AS saved_at, i.name, s.position
FROM showings s
JOIN items i USING (study_id, item_id)
JOIN answers d ON d.study_id = s.study_id AND d.rater = s.rater AND d.position = s.position
    AND d.kind = 'description'
LEFT JOIN answers r ON r.study_id = s.study_id AND r.rater = s.rater AND r.position = s.position
    AND r.kind = 'rating'
LEFT JOIN (SELECT study_id, rater, position, count(*) FILTER (kind = 'heard') AS heard, sum(seconds) AS seconds
    FROM answers GROUP BY ALL) a
    ON a.study_id = s.study_id AND a.rater = s.rater AND a.position = s.position
"""

# The first item that the rater has not rated: parameters study, rater, study, rater.
NEXT = """
SELECT s.position, i.item_id, i.method, i.sae_id, i.latent_id, i.name, i.catch, i.audio, i.durations
FROM showings s
JOIN items i USING (study_id, item_id)
WHERE s.study_id = ? AND s.rater = ?
    AND s.position NOT IN (
        SELECT position FROM answers WHERE study_id = ? AND rater = ? AND kind = 'rating')
ORDER BY s.position LIMIT 1
"""
# Median seconds of the rater's finished items, and how many have a time.
PACE = """
SELECT median(t), count(t)
FROM (SELECT sum(seconds) AS t FROM answers WHERE study_id = ? AND rater = ?
      GROUP BY position HAVING bool_or(kind = 'rating'))
"""
