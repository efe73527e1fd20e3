-- Share of each image's pixels in at least one mask; read from the masks, overlaps counted once.
-- $limit = 20: rows shown, those with the smallest share first
-- $dataset = null: only this dataset
-- $model_id = null: only what this model cut
-- Images without a segment are there with a share of 0, once for every model that finished them.
WITH chosen AS (
    SELECT
        image_id,
        min(file_name) AS file_name,
        any_value(width_px) AS width_px,
        any_value(height_px) AS height_px
    FROM images
    WHERE $dataset::VARCHAR IS NULL OR dataset = $dataset::VARCHAR
    GROUP BY image_id
),
finished AS (
    SELECT DISTINCT unnest(image_ids) AS image_id, model_id, params_id, label_set_id
    FROM units
    WHERE stage = 'segment' AND ($model_id::VARCHAR IS NULL OR model_id = $model_id::VARCHAR)
),
cuts AS (
    SELECT *, row_number() OVER (ORDER BY image_id, model_id, params_id, label_set_id) AS cut
    FROM finished
    JOIN chosen USING (image_id)
),
masks AS (
    SELECT cut, row_number() OVER () AS mask, rle, area_px
    FROM segments
    JOIN cuts USING (image_id, model_id, params_id, label_set_id)
),
-- Compressed COCO counts: numbers in groups of five bits, least first, a sixth says that more
-- follow. A number is signed by its last group, and from the third on a difference.
characters AS (
    SELECT cut, mask, unnest(range(1, len(rle) + 1)) AS place, unicode(rle[place]) - 48 AS code
    FROM masks
),
groups AS (
    SELECT
        *,
        coalesce(sum(((code & 32) = 0)::BIGINT) OVER earlier, 0) AS number,
        max(CASE WHEN (code & 32) = 0 THEN place END) OVER earlier AS ended
    FROM characters
    WINDOW earlier AS (
        PARTITION BY mask ORDER BY place ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
    )
),
numbers AS (
    SELECT
        cut,
        mask,
        number,
        sum((code & 31)::BIGINT << (5 * (place - coalesce(ended, 0) - 1))::BIGINT)
            - CASE
                WHEN (arg_max(code, place) & 16) > 0 THEN 1::BIGINT << (5 * count(*))
                ELSE 0
            END AS difference
    FROM groups
    GROUP BY cut, mask, number
),
runs AS (
    SELECT
        cut,
        mask,
        number,
        CASE
            WHEN number = 0 THEN difference
            ELSE sum(difference) OVER (
                PARTITION BY mask, number % 2, number = 0 ORDER BY number
            )
        END AS length_px
    FROM numbers
),
ends AS (
    SELECT
        cut,
        number,
        length_px,
        sum(length_px) OVER (PARTITION BY mask ORDER BY number) AS end_px
    FROM runs
),
spans AS (
    SELECT cut, end_px - length_px AS start_px, end_px
    FROM ends
    WHERE number % 2 = 1 AND length_px > 0
),
-- A pixel counts for the first span that reaches it.
reached AS (
    SELECT
        cut,
        end_px,
        greatest(
            start_px,
            coalesce(
                max(end_px) OVER (
                    PARTITION BY cut ORDER BY start_px, end_px
                    ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
                ),
                0
            )
        ) AS new_px
    FROM spans
),
unions AS (
    SELECT cut, sum(greatest(end_px - new_px, 0)) AS union_px FROM reached GROUP BY cut
),
sums AS (
    SELECT cut, count(*) AS segments, sum(area_px) AS sum_px FROM masks GROUP BY cut
)
SELECT
    file_name,
    round(coalesce(union_px, 0) / (width_px * height_px), 4) AS share_covered,
    coalesce(union_px, 0)::BIGINT AS union_area_px,
    coalesce(sum_px, 0)::BIGINT AS sum_of_areas_px,
    coalesce(segments, 0) AS segments,
    model_id,
    image_id,
    params_id,
    label_set_id
FROM cuts
LEFT JOIN unions USING (cut)
LEFT JOIN sums USING (cut)
ORDER BY coalesce(union_px, 0) / (width_px * height_px), file_name, image_id, model_id
LIMIT $limit
