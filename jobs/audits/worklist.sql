-- What should be reviewed next?
--
-- Flagged findings without a review, the worst of every kind first. Record the verdict with `prospect review add IMAGE
-- KIND ok|fix`.
--
-- param kind finding = '' : findings of this kind; '' for all
-- param class class = '' : images with this label; '' for all
-- param rows integer = 50 : maximum number of rows
-- needs images, classes, issues
with names as (
    select class, name from classes where source = 'dataset'
)
select s.image_id, i.path, s.kind, s.rank, i.label_name, n.name as suggested, s.score, s.evidence, s.other_id, o.path as other_path
from issues s
join images i on i.image_id = s.image_id
left join names n on n.class = s.suggested_label
left join images o on o.image_id = s.other_id
where s.flagged and s.reviewed is null and ($kind = '' or s.kind = $kind) and ($class = '' or i.label_name = $class)
order by s.rank, s.kind, s.image_id, s.other_id nulls first
limit $rows
