-- Which files can be removed because an earlier one shows the same?
--
-- Each image that is a copy of one with a lower id, and the image to keep. `exact` copies are safe to delete. Look at
-- near ones first (with --sheet): the ends of a chain of near copies may differ.
--
-- param kind text = 'exact' : exact, near, mirrored or rotated; '' for all
-- param rows integer = 1000000 : maximum number of rows
-- needs images, duplicates
with copies as (
    select image_b, min(image_a) as image_a, count(*) as copies
    from duplicates
    where $kind = '' or kind = $kind
    group by image_b
)
select c.image_b as image_id, b.path, b.split, b.label_name, c.image_a as other_id, a.path as keep, a.split as keep_split,
    a.label_name as keep_label
from copies c
join images b on b.image_id = c.image_b
join images a on a.image_id = c.image_a
order by c.image_b
limit $rows
