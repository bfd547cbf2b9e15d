-- Which pictures appear twice with different labels?
--
-- At least one of the two labels is wrong, or the picture shows both. These are the most certain label errors: exact
-- copies involve no model.
--
-- param class class = '' : pairs with this label on either side; '' for all
-- param rows integer = 200 : maximum number of rows
-- needs images, duplicates
select d.image_a as image_id, a.path, a.label_name, d.image_b as other_id, b.path as other_path,
    b.label_name as other_label, d.kind, d.similarity
from duplicates d
join images a on a.image_id = d.image_a
join images b on b.image_id = d.image_b
where d.label_conflict and ($class = '' or a.label_name = $class or b.label_name = $class)
order by d.kind, d.image_a, d.image_b
limit $rows
