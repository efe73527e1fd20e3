-- What may be trained on: segments that were accepted, relabelled or fixed, and annotations that
-- are no crowds. Sessions have it as the view curated.
WITH memberships AS (
    SELECT DISTINCT dataset, image_id FROM images
)
SELECT
    dataset,
    image_id,
    CASE WHEN by_rules THEN 'rules' ELSE 'review' END AS source,
    segment_id AS object_id,
    coalesce(decisions.label, segments.label) AS label,
    coalesce(decisions.area_px, segments.area_px) AS area_px,
    coalesce(decisions.rle, segments.rle) AS rle,
    model_id,
    reviewer,
    decided_at AS curated_at,
    table_version AS reviews_version
FROM decisions
JOIN segments USING (segment_id, image_id)
JOIN memberships USING (image_id)
WHERE decision IN ('accept', 'relabel', 'fix')
UNION ALL
(
    SELECT
        dataset,
        image_id,
        'annotation',
        annotation_id,
        category,
        area_px,
        rle,
        NULL,
        NULL,
        committed_at,
        NULL
    FROM annotations
    JOIN memberships USING (dataset, image_id)
    JOIN (SELECT unit_id, committed_at FROM units) USING (unit_id)
    WHERE NOT iscrowd
    -- Several drops may have brought it.
    QUALIFY 1 = row_number() OVER (
        PARTITION BY dataset, image_id, annotation_id, category, rle
        ORDER BY committed_at, unit_id
    )
)
