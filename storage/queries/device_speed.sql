-- How long a device took for an image, from the $most units of segment that it finished last.
-- Parameters: $model_id, $params_id, $most, and $device (null takes that of the newest unit)
WITH measured AS (
    SELECT unit_id, committed_at, device, device_seconds, inputs
    FROM units
    WHERE stage = 'segment'
      AND model_id = $model_id
      AND params_id = $params_id
      AND device_seconds > 0
      AND inputs > 0
),
latest AS (
    SELECT * FROM measured
    WHERE device = coalesce(
        $device::VARCHAR, (SELECT max_by(device, (committed_at, unit_id)) FROM measured)
    )
    ORDER BY committed_at DESC, unit_id
    LIMIT $most
)
SELECT
    device,
    -- In a fixed order, so that the sum is the same to the last digit.
    sum(device_seconds ORDER BY committed_at, unit_id) / sum(inputs) AS seconds_per_image,
    count(*) AS units,
    sum(inputs)::BIGINT AS images
FROM latest
GROUP BY device
