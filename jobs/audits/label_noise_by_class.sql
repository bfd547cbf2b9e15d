-- How many labels of each class are wrong?
--
-- `flagged` is the number of findings; `estimated_wrong` is confident learning's estimate for the class (from the
-- calibrated joint, which does not identify images), `estimated_share` that of the class's images. A class far above the
-- others has an ambiguous definition or is swapped with another (label_swaps).
--
-- needs label_scores, confident_joint
with flagged as (
    select label, count(*) as images, sum(case when flagged then 1 else 0 end) as flagged,
        sum(case when confident_joint then 1 else 0 end) as off_diagonal
    from label_scores
    group by label
),
estimated as (
    select label, label_name, sum(estimated) as total,
        sum(case when label <> true_label then estimated else cast(0 as double) end) as wrong
    from confident_joint
    group by label, label_name
)
select e.label_name, f.images, f.flagged, f.off_diagonal, e.wrong as estimated_wrong,
    e.wrong / nullif(e.total, cast(0 as double)) as estimated_share
from estimated e
join flagged f on f.label = e.label
order by cast(e.wrong / nullif(e.total, cast(0 as double)) as real) desc nulls last, e.label_name
