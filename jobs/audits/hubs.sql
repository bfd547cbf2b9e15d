-- Which images are neighbours of far too many others?
--
-- `in_degree` says in how many neighbour lists an image stands; the mean is k. Hubs are often blank, blurred or average
-- photos, or many copies of one. They drown neighbour votes: judge `label_agreement` around them with care.
--
-- param class class = '' : images labelled so; '' for all
-- param rows integer = 30 : maximum number of rows
-- needs images, neighbor_stats
select s.image_id, i.path, i.label_name, s.in_degree, s.label_agreement, s.mean_distance
from neighbor_stats s
join images i on i.image_id = s.image_id
where $class = '' or i.label_name = $class
order by s.in_degree desc, s.image_id
limit $rows
