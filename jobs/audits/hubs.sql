-- Which images are neighbours of too many others?
--
-- `in_degree` is the number of neighbour lists that contain the image; the mean is k. Hubs are often blank, blurred or
-- average photos, or copies of one photo. They dominate neighbour votes: be careful with `label_agreement` around them.
--
-- param class class = '' : images with this label; '' for all
-- param rows integer = 30 : maximum number of rows
-- needs images, neighbor_stats
select s.image_id, i.path, i.label_name, s.in_degree, s.label_agreement, s.mean_distance
from neighbor_stats s
join images i on i.image_id = s.image_id
where $class = '' or i.label_name = $class
order by s.in_degree desc, s.image_id
limit $rows
