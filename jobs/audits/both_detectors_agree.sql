-- On which wrong labels do two independent detectors agree?
--
-- Confident learning (the probe's probabilities against each class's threshold) puts the image off the diagonal, and most
-- of its labelled neighbours have the suggested label. Fewer rows than from either detector alone, but with higher
-- precision: correct these first, or without review where a few mistakes are acceptable.
--
-- param class class = '' : images with this label; '' for all
-- param rows integer = 50 : maximum number of rows
-- needs images, label_scores, neighbors, probe_classes
with candidates as (
    select image_id, suggested_label, self_confidence, score
    from label_scores
    where confident_joint and suggested_label is not null and knn_agreement < cast(0.5 as real)
),
votes as (
    select c.image_id, count(*) as labelled_neighbors,
        sum(case when o.label = c.suggested_label then 1 else 0 end) as votes
    from candidates c
    join neighbors n on n.image_id = c.image_id
    join images o on o.image_id = n.neighbor_id
    where o.label is not null
    group by c.image_id
)
select c.image_id, i.path, i.label_name, s.name as suggested, v.votes, v.labelled_neighbors,
    c.self_confidence as p_label, c.score
from candidates c
join votes v on v.image_id = c.image_id
join images i on i.image_id = c.image_id
join probe_classes s on s.class = c.suggested_label
where v.votes * 2 > v.labelled_neighbors and ($class = '' or i.label_name = $class)
order by c.score, c.image_id
limit $rows
