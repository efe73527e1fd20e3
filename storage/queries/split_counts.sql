-- The splits of a dataset: their images, and those with masks that somebody vouches for, which are
-- annotations and what people accepted.
-- Parameters: $dataset
WITH vouched AS (
    SELECT DISTINCT image_id FROM curated WHERE dataset = $dataset AND source <> 'rules'
)
SELECT
    CASE
        WHEN starts_with(lower(split), 'train') THEN 'train'
        WHEN starts_with(lower(split), 'val') THEN 'val'
        ELSE lower(split)
    END AS kind,
    count(DISTINCT images.image_id) AS images,
    count(DISTINCT vouched.image_id) AS with_masks
FROM images LEFT JOIN vouched USING (image_id)
WHERE dataset = $dataset
GROUP BY kind
ORDER BY kind
