-- Which labels disagree with those of their neighbours?
--
-- Compares each image's label with its nearest neighbours' labels, and gives the most frequent one. `label_agreement` is
-- the share of its labelled neighbours with its own label. The first rows are wrong labels or atypical images; if many
-- rows of one class give the same other class, the two overlap (classes_overlapping). Needs no probe.
--
-- param class class = '' : images with this label; '' for all
-- param agreement number = 0.2 : maximum share of neighbours with the image's label
-- param rows integer = 50 : maximum number of rows
-- needs images, neighbors, neighbor_stats
with votes as (
    select n.image_id, o.label_name as neighbors_say, 0 - cast(count(*) as bigint) as minus_votes
    from neighbor_stats s
    join neighbors n on n.image_id = s.image_id
    join images o on o.image_id = n.neighbor_id
    where s.label_agreement <= cast($agreement as real) and o.label_name is not null
    group by n.image_id, o.label_name
),
placed as (
    select image_id, neighbors_say, 0 - minus_votes as votes,
        row_number() over (partition by image_id order by minus_votes, neighbors_say) as place
    from votes
)
select p.image_id, i.path, i.label_name, p.neighbors_say, p.votes, s.label_agreement
from placed p
join images i on i.image_id = p.image_id
join neighbor_stats s on s.image_id = p.image_id
where p.place = 1 and p.neighbors_say <> i.label_name and ($class = '' or i.label_name = $class)
order by s.label_agreement, p.votes desc, p.image_id
limit $rows
