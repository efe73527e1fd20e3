-- Segments of a dataset to look at, of the newest cut of each image: the least certain of each label.
-- Parameters: $dataset, $label (null takes all), $audit (true: those that rules accepted; false:
-- those that nobody decided about), $by (margin, disagreement, or random), $seed, $pool (how many of
-- each label)
WITH members AS (
    SELECT
        image_id,
        min(file_name) AS file_name,
        min(uri) AS uri,
        min(width_px) AS width_px,
        min(height_px) AS height_px,
        min(perceptual_hash) AS perceptual_hash
    FROM images
    WHERE dataset = $dataset
    GROUP BY image_id
),
-- Where a person reopened a segment, later decisions are compared with that one.
last_versions AS (
    SELECT segment_id, max(version) AS version
    FROM reviews
    WHERE NOT starts_with(reviewer, 'rules:')
    GROUP BY segment_id
),
candidates AS (
    SELECT *
    FROM segments
    SEMI JOIN members USING (image_id)
    SEMI JOIN newest_cuts USING (image_id, model_id, params_id, label_set_id)
    WHERE ($label::VARCHAR IS NULL OR label = $label)
      AND CASE
          WHEN $audit THEN segment_id IN (SELECT segment_id FROM decisions WHERE by_rules)
          ELSE segment_id NOT IN (SELECT segment_id FROM decisions)
      END
),
-- How well the best segment that another cut found in the same place agrees: by boxes, 0 if its
-- label is another.
agreements AS (
    SELECT
        mine.segment_id,
        max(CASE WHEN mine.label = other.label THEN common_px / (
            mine.bbox_xywh[3] * mine.bbox_xywh[4] + other.bbox_xywh[3] * other.bbox_xywh[4]
            - common_px
        ) ELSE 0 END) AS agreement
    FROM candidates AS mine
    JOIN segments AS other ON $by = 'disagreement'
        AND mine.image_id = other.image_id
        AND (mine.model_id, mine.params_id, mine.label_set_id)
            <> (other.model_id, other.params_id, other.label_set_id)
    CROSS JOIN LATERAL (
        SELECT
            greatest(0, least(
                mine.bbox_xywh[1] + mine.bbox_xywh[3], other.bbox_xywh[1] + other.bbox_xywh[3]
            ) - greatest(mine.bbox_xywh[1], other.bbox_xywh[1]))
            * greatest(0, least(
                mine.bbox_xywh[2] + mine.bbox_xywh[4], other.bbox_xywh[2] + other.bbox_xywh[4]
            ) - greatest(mine.bbox_xywh[2], other.bbox_xywh[2])) AS common_px
    )
    GROUP BY mine.segment_id
),
drawn AS (
    SELECT segment_id, md5(concat_ws('/', $seed, segment_id)) AS lot
    FROM candidates
)
SELECT
    segment_id,
    image_id,
    file_name,
    uri,
    width_px,
    height_px,
    perceptual_hash,
    label,
    top,
    margin,
    score,
    area_px,
    bbox_xywh,
    model_id,
    rle,
    coalesce(version, 0) AS based_on,
    lot,
    CASE $by
        WHEN 'random' THEN ('0x' || lot[:8])::UBIGINT / 4294967296
        WHEN 'disagreement' THEN 1 - agreement
        -- A margin below 0 says how much surer it is that no label fits.
        ELSE 1 - least(1, abs(coalesce(margin, 0)))
    END AS uncertainty
FROM candidates
JOIN members USING (image_id)
JOIN drawn USING (segment_id)
LEFT JOIN agreements USING (segment_id)
LEFT JOIN last_versions USING (segment_id)
WHERE $by <> 'disagreement' OR agreement IS NOT NULL
QUALIFY row_number() OVER (PARTITION BY label ORDER BY uncertainty DESC, lot) <= $pool
ORDER BY lot
