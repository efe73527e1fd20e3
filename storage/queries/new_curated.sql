-- How many curated masks of each label a dataset has, how many of them a training would take, and how
-- many of these are new: not curated, or not with this label and this mask, when the tables were as
-- the parameters say.
-- Parameters: $dataset, $reviews_version (of the table reviews), $annotations_until (when the last
-- annotations were stored that count as seen)
WITH trained_images AS (
    -- As training_masks has it: every dataset that holds the image has it in the split train.
    SELECT image_id FROM images GROUP BY image_id HAVING bool_and(starts_with(lower(split), 'train'))
),
curated_now AS (
    SELECT * FROM curated WHERE dataset = $dataset
),
trained_now AS (
    FROM curated_now SEMI JOIN trained_images USING (image_id)
),
-- What a segment was curated as then; a decision that said the same again makes nothing new.
segments_then AS (
    SELECT
        segment_id AS object_id,
        coalesce(then_decided.label, segments.label) AS label,
        coalesce(then_decided.rle, segments.rle) AS rle
    FROM decided($reviews_version) AS then_decided
    JOIN segments USING (segment_id, image_id)
    WHERE decision IN ('accept', 'relabel', 'fix')
),
-- Of drops that were replaced since as well: most annotations of a changed drop are the old ones.
annotations_then AS (
    SELECT image_id, annotation_id AS object_id, category AS label, rle
    FROM stored.annotations
    JOIN (SELECT unit_id, committed_at FROM stored.units) USING (unit_id)
    WHERE dataset = $dataset
      AND NOT iscrowd
      AND committed_at <= $annotations_until::TIMESTAMPTZ
),
new_segments AS (
    SELECT object_id, label
    FROM trained_now
    ANTI JOIN segments_then USING (object_id, label, rle)
    WHERE source <> 'annotation' AND reviews_version > $reviews_version
),
new_annotations AS (
    SELECT object_id, label
    FROM trained_now
    ANTI JOIN annotations_then USING (image_id, object_id, label, rle)
    WHERE source = 'annotation' AND curated_at > $annotations_until::TIMESTAMPTZ
),
totals AS (
    SELECT label, count(*) AS curated FROM curated_now GROUP BY label
),
trained AS (
    SELECT label, count(*) AS trained FROM trained_now GROUP BY label
),
news AS (
    SELECT label, count(*) AS new
    FROM (FROM new_segments UNION ALL FROM new_annotations)
    GROUP BY label
)
SELECT label, curated, coalesce(trained, 0) AS trained, coalesce(new, 0) AS new
FROM totals
LEFT JOIN trained USING (label)
LEFT JOIN news USING (label)
ORDER BY label
