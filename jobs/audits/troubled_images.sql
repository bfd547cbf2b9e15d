-- Which images have several problems?
--
-- Images with flagged findings of at least `least` kinds: the first candidates for removal.
--
-- param least integer = 2 : minimum number of kinds
-- param rows integer = 50 : maximum number of rows
-- needs images, issues
with counted as (
    select image_id, count(distinct kind) as kinds, min(score) as worst_score,
        sum(case when kind in ('label', 'ambiguous') then 1 else 0 end) as label,
        sum(case when kind in ('duplicate_exact', 'duplicate_near', 'duplicate_label', 'leak') then 1 else 0 end) as copies,
        sum(case when kind = 'outlier' then 1 else 0 end) as outlier,
        sum(case when kind in ('dark', 'bright', 'blank', 'blurred', 'odd_aspect', 'tiny', 'grayscale',
        'damaged', 'unreadable')
            then 1 else 0 end) as photo
    from issues
    where flagged
    group by image_id
)
select c.image_id, i.path, i.label_name, c.kinds, c.worst_score, c.label, c.copies, c.outlier, c.photo
from counted c
join images i on i.image_id = c.image_id
where c.kinds >= $least
order by c.kinds desc, c.worst_score, c.image_id
limit $rows
