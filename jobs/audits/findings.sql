-- What are the findings of each kind?
--
-- All rows of the audit, the worst of each kind first: flagged findings, then candidates, then findings reviewed as fine.
-- `suggested` is the suggested label, `other_id` the other image of a pair.
--
-- param kind finding = '' : findings of this kind; '' for all
-- param class class = '' : images with this label; '' for all
-- param rows integer = 200 : maximum number of rows
-- needs images, classes, issues
with names as (
    select class, name from classes where source = 'dataset'
)
select s.image_id, i.path, s.kind, s.rank, s.flagged, s.reviewed, i.label_name, n.name as suggested, s.score, s.evidence,
    s.other_id, o.path as other_path
from issues s
join images i on i.image_id = s.image_id
left join names n on n.class = s.suggested_label
left join images o on o.image_id = s.other_id
where ($kind = '' or s.kind = $kind) and ($class = '' or i.label_name = $class)
order by s.kind, s.rank, s.image_id, s.other_id nulls first
limit $rows
