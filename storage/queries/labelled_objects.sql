-- Annotations of some categories, as a sample that is always the same, image by image.
-- Parameters: $dataset (null takes all), $labels, $most
WITH chosen AS (
    SELECT image_id, category, rle
    FROM annotations
    WHERE ($dataset::VARCHAR IS NULL OR dataset = $dataset)
      AND list_contains($labels::VARCHAR[], category)
      AND NOT iscrowd
    ORDER BY md5(concat(image_id, category, rle))
    LIMIT $most
),
known AS (
    SELECT image_id, min(uri) AS uri FROM images GROUP BY image_id
)
SELECT image_id, uri, category, rle
FROM chosen JOIN known USING (image_id)
ORDER BY image_id, category, rle
