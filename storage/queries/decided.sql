-- The decision that counts of each segment, of those that the table reviews had at a version: the
-- last one of a person, unless it reopened the segment; else the last one of rules.
-- Parameters: $until (the version). Sessions have it as a table macro, decided(until).
WITH last_of_each AS (
    SELECT *, starts_with(reviewer, 'rules:') AS by_rules
    FROM reviews
    WHERE table_version <= $until
    QUALIFY 1 = row_number() OVER (
        PARTITION BY segment_id, by_rules ORDER BY version DESC, review_id
    )
)
SELECT
    segment_id,
    image_id,
    decision,
    label,
    area_px,
    rle,
    reviewer,
    by_rules,
    version,
    decided_at,
    counts_since AS table_version
FROM (
    -- Where a person's decision was reopened, that of rules counts since then.
    SELECT *, max(table_version) OVER (PARTITION BY segment_id) AS counts_since
    FROM last_of_each
)
WHERE decision <> 'reopen'
QUALIFY 1 = row_number() OVER (PARTITION BY segment_id ORDER BY by_rules)
