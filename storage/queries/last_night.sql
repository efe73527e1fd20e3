-- What the newest run of each stage did for $dataset. A night is one run of all stages; where an
-- event starts each stage, each is a run of its own.
-- A unit of segment is of one dataset's images, one of ingest of its drop, which may have been sealed
-- for others as well; older units do not say in which of them it was ingested.
WITH mine AS (
    SELECT * FROM units
    WHERE subject = $dataset
       OR (stage IN ('ingest', 'reject')
           AND coalesce(dataset, $dataset) = $dataset
           AND subject IN (SELECT drop_id FROM drops WHERE dataset = $dataset))
       OR image_ids[1] IN (SELECT image_id FROM images WHERE dataset = $dataset)
),
newest AS (
    SELECT stage, arg_max(run_id, committed_at) AS run_id FROM mine
    WHERE run_id IS NOT NULL GROUP BY stage
)
SELECT
    run_id,
    stage,
    count(*) AS units,
    sum(inputs)::BIGINT AS inputs,
    sum(outputs)::BIGINT AS outputs,
    min(committed_at) AS first_at,
    max(committed_at) AS last_at,
    sum(device_seconds) AS device_seconds,
    coalesce(list(DISTINCT device ORDER BY device) FILTER (device IS NOT NULL), []) AS devices
FROM mine JOIN newest USING (stage, run_id)
GROUP BY run_id, stage ORDER BY first_at, stage
