-- Which files could not be read, and why?
--
-- They are in no other table, so no other query lists them.
--
-- param rows integer = 1000 : maximum number of rows
-- needs images
select image_id, path, label_name, split, error
from images
where error is not null
order by path
limit $rows
