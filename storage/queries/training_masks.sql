-- Curated masks of the images of a split, with their images. An image trains only if every dataset
-- that holds it has it in the split train; it is in another split if one of them says so, and none has
-- it in train: a model may have learnt from it.
-- Parameters: $dataset (null takes all), $split (train, val...), $labels (an empty list takes all)
WITH splits AS (
    SELECT
        *,
        -- As train2017: the rest of the name only says from when it is.
        CASE
            WHEN starts_with(lower(split), 'train') THEN 'train'
            WHEN starts_with(lower(split), 'val') THEN 'val'
            ELSE lower(split)
        END AS kind
    FROM images
),
chosen_images AS (
    SELECT
        image_id,
        arg_min(uri, ingested_at) AS uri,
        arg_min(file_name, ingested_at) AS file_name,
        min(width_px) AS width_px,
        min(height_px) AS height_px,
        min(perceptual_hash) AS perceptual_hash
    FROM splits
    GROUP BY image_id
    HAVING bool_or($dataset::VARCHAR IS NULL OR dataset = $dataset)
       AND CASE
           WHEN $split = 'train' THEN bool_and(kind = 'train')
           ELSE bool_or(kind = $split) AND NOT bool_or(kind = 'train')
       END
)
SELECT
    image_id,
    uri,
    file_name,
    width_px,
    height_px,
    perceptual_hash,
    $split AS split,
    source,
    object_id,
    label,
    rle
FROM curated
JOIN chosen_images USING (image_id)
WHERE ($dataset::VARCHAR IS NULL OR dataset = $dataset)
  AND (len($labels::VARCHAR[]) = 0 OR list_contains($labels::VARCHAR[], label))
-- Several datasets may hold the same image.
QUALIFY 1 = row_number() OVER (
    PARTITION BY image_id, source, object_id, label, rle ORDER BY dataset
)
