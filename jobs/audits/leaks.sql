-- Which pictures are in two splits at once?
--
-- Training images that recur in the test split inflate its accuracy. `kind` is exact (the same file), near (reencoded,
-- scaled or cropped), mirrored or rotated.
--
-- param kind text = '' : exact, near, mirrored or rotated; '' for all
-- param rows integer = 200 : maximum number of rows
-- needs images, duplicates
select d.image_a as image_id, a.path, a.split, a.label_name, d.image_b as other_id, b.path as other_path,
    b.split as other_split, b.label_name as other_label, d.kind, d.similarity
from duplicates d
join images a on a.image_id = d.image_a
join images b on b.image_id = d.image_b
where d.cross_split and ($kind = '' or d.kind = $kind)
order by d.kind, d.image_a, d.image_b
limit $rows
