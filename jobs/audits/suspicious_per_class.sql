-- What are the most suspicious labels of every class?
--
-- The worst of each class by the combined score (0 worst, 1 fine), so that a noisy class does not crowd out the others.
-- If a class's first image is fine, the class is clean. `suggested` is empty if no other class is better.
--
-- param class class = '' : this class only; '' for all
-- param each integer = 5 : images per class
-- needs images, classes, label_scores
with placed as (
    select image_id, label, suggested_label, score, row_number() over (partition by label order by rank) as place
    from label_scores
),
names as (
    select class, name from classes where source = 'dataset'
)
select p.image_id, i.path, i.label_name, p.place, n.name as suggested, p.score
from placed p
join images i on i.image_id = p.image_id
left join names n on n.class = p.suggested_label
where p.place <= $each and ($class = '' or i.label_name = $class)
order by i.label_name, p.place
