-- What rules decide anew: segments they accept, and segments they no longer accept, as far as no
-- person decided. They look at the newest cut of each image that the dataset brought first.
-- Parameters: $dataset, $reviewer (the name of the rules), $thresholds (JSON: a row for each label
-- that has its own, and one without label), $max_per_image (null: any number),
-- $annotated_images (whether images with annotations come too)
WITH thresholds AS (
    SELECT unnest(from_json(
        $thresholds::JSON,
        '[{
            "label": "VARCHAR",
            "accept": "BOOLEAN",
            "min_predicted_iou": "DOUBLE",
            "min_stability_score": "DOUBLE",
            "min_score": "DOUBLE",
            "min_margin": "DOUBLE",
            "min_area_px": "BIGINT",
            "max_area_px": "BIGINT",
            "min_area_share": "DOUBLE",
            "max_area_share": "DOUBLE",
            "max_per_label": "BIGINT"
        }]'
    )) AS rule
),
home AS (
    SELECT image_id, width_px * height_px AS image_px
    FROM images
    QUALIFY dataset = $dataset
        AND 1 = row_number() OVER (PARTITION BY image_id ORDER BY ingested_at, dataset)
),
last_decisions AS (
    SELECT segment_id, decision, reviewer, version, starts_with(reviewer, 'rules:') AS by_rules
    FROM reviews
    QUALIFY 1 = row_number() OVER (
        PARTITION BY segment_id, by_rules ORDER BY version DESC, review_id
    )
),
of_people AS (
    SELECT segment_id FROM last_decisions WHERE NOT by_rules AND decision <> 'reopen'
),
of_rules AS (
    SELECT segment_id, decision, reviewer, version FROM last_decisions WHERE by_rules
),
looked_at AS (
    SELECT segments.*, image_px, coalesce(own.rule, general.rule) AS asked
    FROM segments
    JOIN home USING (image_id)
    SEMI JOIN newest_cuts USING (image_id, model_id, params_id, label_set_id)
    LEFT JOIN thresholds AS own ON own.rule.label = segments.label
    CROSS JOIN (SELECT rule FROM thresholds WHERE rule.label IS NULL) AS general
),
eligible AS (
    SELECT
        segment_id,
        image_id,
        label,
        score,
        predicted_iou,
        asked,
        -- What these rules accepted keeps its place among better ones that came later.
        coalesce(of_rules.decision = 'accept' AND of_rules.reviewer = $reviewer, false) AS kept
    FROM looked_at
    LEFT JOIN of_rules USING (segment_id)
    WHERE asked.accept
      AND (
          $annotated_images::BOOLEAN
          OR image_id NOT IN (SELECT image_id FROM annotations WHERE NOT iscrowd)
      )
      AND (asked.min_predicted_iou IS NULL OR predicted_iou >= asked.min_predicted_iou)
      AND (asked.min_stability_score IS NULL OR stability_score >= asked.min_stability_score)
      AND (asked.min_score IS NULL OR score >= asked.min_score)
      AND (asked.min_margin IS NULL OR margin >= asked.min_margin)
      AND (asked.min_area_px IS NULL OR area_px >= asked.min_area_px)
      AND (asked.max_area_px IS NULL OR area_px <= asked.max_area_px)
      AND (asked.min_area_share IS NULL OR area_px >= asked.min_area_share * image_px)
      AND (asked.max_area_share IS NULL OR area_px <= asked.max_area_share * image_px)
),
best_of_image AS (
    SELECT *
    FROM eligible
    QUALIFY row_number() OVER (
        PARTITION BY image_id
        ORDER BY kept DESC, score DESC NULLS LAST, predicted_iou DESC NULLS LAST, segment_id
    ) <= coalesce($max_per_image::BIGINT, 9223372036854775807)
),
-- People's decisions move no place: whether they or the rules come first, the same is accepted.
chosen AS (
    SELECT *
    FROM best_of_image
    QUALIFY row_number() OVER (
        PARTITION BY label
        ORDER BY kept DESC, score DESC NULLS LAST, predicted_iou DESC NULLS LAST, segment_id
    ) <= coalesce(asked.max_per_label, 9223372036854775807)
),
decided AS (
    SELECT segment_id, image_id, label, 'accept' AS decision
    FROM chosen
    WHERE NOT kept
    UNION ALL
    SELECT segment_id, image_id, label, 'reopen' AS decision
    FROM of_rules
    JOIN (SELECT segment_id, image_id, label FROM segments) USING (segment_id)
    SEMI JOIN home USING (image_id)
    ANTI JOIN chosen USING (segment_id)
    WHERE decision = 'accept'
)
SELECT
    md5(concat_ws('/', $reviewer, segment_id, coalesce(of_rules.version, 0))) AS review_id,
    segment_id,
    image_id,
    decided.label AS segment_label,
    decided.decision,
    coalesce(of_rules.version, 0) AS based_on
FROM decided
LEFT JOIN of_rules USING (segment_id)
ANTI JOIN of_people USING (segment_id)
ORDER BY image_id, segment_id
