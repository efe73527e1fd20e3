-- What was refused, by rule, with one example of each.
-- $dataset = null: only this dataset
-- $since = null: only what was refused at this time or later
SELECT
    stage,
    rule,
    count(*) AS refused,
    count(DISTINCT drop_id) AS drops,
    count(DISTINCT (drop_id, file)) AS files,
    max("at") AS last_at,
    min_by(file, (drop_id, file, pointer)) AS example_file,
    min_by(pointer, (drop_id, file, pointer)) AS example_pointer,
    min_by("value", (drop_id, file, pointer)) AS example_value
FROM quarantine
WHERE ($dataset::VARCHAR IS NULL OR dataset = $dataset::VARCHAR)
  AND ($since::TIMESTAMPTZ IS NULL OR "at" >= $since::TIMESTAMPTZ)
GROUP BY stage, rule
ORDER BY refused DESC, stage, rule
